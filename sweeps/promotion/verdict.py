"""What the gate is given and what it says: plain values, see `sweeps.promotion.gate`."""

from dataclasses import dataclass, field
from typing import Literal

from workers.metrics.scorer import Scored

FEW = 30
"""Images below which the bootstrap's intervals are too narrow to rely on."""

NOTHING = 5e-5
"""Differences up to it are none: four digits do not show them. Without a single match BLEU is no
0 but a tiny number, which differs from captions to captions with all confidence."""


@dataclass(frozen=True, kw_only=True)
class Terms:
    """What must be equal before two sets of scores are compared."""

    images: str
    """Digest of the images, their questions and their references."""
    metrics: str
    """Versions of the metrics."""
    base: str
    """The base model and its revision, or the digest of its files."""


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """What was measured of one side."""

    title: str
    terms: Terms
    scored: Scored = field(repr=False)
    adapter_mb: float
    """Weights of the adapter in 1e6 bytes; 0 for the bare base."""
    latency_ms: float
    """Median time of a caption."""


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What a challenger must reach."""

    objective: str
    """Output that must be better."""
    mode: Literal["max", "min"] = "max"
    margin: float = 0.0
    """The gain must be above it."""
    confidence: float = 0.95
    max_adapter_mb: float | None = None
    max_latency_ms: float | None = None
    max_slowdown: float | None = None
    """Most that the latency may be, as a multiple of the champion's."""


@dataclass(frozen=True, kw_only=True)
class Check:
    """One condition of a promotion."""

    name: str
    passed: bool
    measured: str
    asked: str

    def __str__(self) -> str:
        return f"{self.name}: {self.measured}; asked: {self.asked}"


@dataclass(frozen=True, kw_only=True)
class Change:
    """One score of both sides; a gain is positive where the challenger is better."""

    output: str
    mode: Literal["max", "min"] | None
    """Which way is better; None for a description without a better way."""
    challenger: float
    champion: float
    gain: float
    """Challenger minus champion, or the reverse where smaller is better."""
    low: float
    high: float
    p: float

    @property
    def won(self) -> bool:
        """Whether the challenger is significantly better."""
        return self.mode is not None and self.low > NOTHING

    @property
    def lost(self) -> bool:
        """Whether the challenger is significantly worse."""
        return self.mode is not None and self.high < -NOTHING

    def __str__(self) -> str:
        return f"{self.output} {self.gain:+.4f} ({self.low:+.4f} to {self.high:+.4f})"


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """What the gate says, with everything that it rests on."""

    challenger: str
    champion: str
    checks: tuple[Check, ...]
    changes: tuple[Change, ...] = ()
    """The objective's first; empty when the two were not compared."""
    images: int = 0
    """Images that both captioned."""
    confidence: float = 0.95

    @property
    def passed(self) -> bool:
        """Whether every check passed."""
        return all(check.passed for check in self.checks)

    @property
    def reasons(self) -> tuple[str, ...]:
        """The checks that failed, in words."""
        return tuple(str(check) for check in self.checks if not check.passed)

    @property
    def gain(self) -> Change | None:
        """The change of the objective; None when the two were not compared."""
        return self.changes[0] if self.changes else None
