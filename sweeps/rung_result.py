"""The result of a rung, as a host returns it to Tune and Optuna and writes it to the record."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

_KEYS = {"infeasible": "hopeless", "disk_full": "full"}
"""Fields whose key in Tune's results and in records is not their name."""


@dataclass(frozen=True, kw_only=True)
class RungResult:
    """A rung of a trial, or why there is none."""

    rung: int = 0
    """Its number; 0 for a trial that cannot continue."""
    objective: float | None = None
    """The leading objective; None for a rung without captions, or without a score."""
    objectives: tuple[float, ...] = ()
    """All objectives, the leading one first; NaN for missing ones."""
    best: float | None = None
    """The leading objective at the trial's best rung so far; None while there is none."""
    bests: tuple[float, ...] = ()
    """All objectives there; empty while there is none."""
    finished: bool = False
    """Whether the trial has completed with this rung."""
    guard: str | None = None
    """Why the guard stopped the trial."""
    infeasible: bool = False
    """Whether the trial ends because no later rung can satisfy the constraints."""
    failed: str | None = None
    """Why the trial cannot continue: a traceback, cause last."""
    disk_full: str | None = None
    """Message that the disk is full or the storage unavailable; the rung is not on record."""
    changes: int = 0
    """How often the trial had changed its point before the rung."""
    symptoms: tuple[str, ...] = ()
    """Signs of a collapse, in words; empty for a healthy rung."""
    violations: Mapping[str, float] = field(default_factory=dict)
    """Name of a constraint -> by how much the trial violates it; satisfied at 0 and below."""
    violates: str | None = None
    """The constraints that the trial violates, in words."""
    metrics: Mapping[str, float] = field(default_factory=dict)
    """Scores and measures of the rung, such as ``val/cider``."""
    image_waits: Mapping[str, float] = field(default_factory=dict)
    """How often its training steps waited for images: ``waits``, the ``last`` one from 1 (0 for
    none), ``seconds`` in all, and images ``queued`` at its end."""
    seconds: float = 0.0
    """Duration of the rung."""
    time: float = 0.0
    """When the rung ended, in seconds since 1970."""

    @property
    def is_last(self) -> bool:
        """Whether the trial ended with this rung: by itself, by the guard, or by a limit."""
        return bool(self.finished or self.guard or self.infeasible)

    @property
    def is_rung(self) -> bool:
        """Whether a rung was done; otherwise the result has the reason."""
        return not (self.failed or self.disk_full)

    @property
    def score(self) -> float | None:
        """The leading objective if it is finite."""
        value = self.objective
        return value if value is not None and math.isfinite(value) else None

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> "RungResult":
        """Return the result in `values`: a line of a record, or one of Tune's results.

        Fields that an older version did not write have their defaults. Tune passes nested values
        to a search algorithm flat: ``{"violations/memory": 1.0}``.
        """
        found = {
            one.name: values[key]
            for one in fields(cls)
            if values.get(key := _KEYS.get(one.name, one.name)) is not None
        }
        for name in ("objectives", "bests", "symptoms"):
            found[name] = tuple(found.get(name, ()))
        flat = {
            name.removeprefix("violations/"): float(value)
            for name, value in values.items()
            if name.startswith("violations/")
        }
        found["violations"] = {**found.get("violations", {}), **flat}
        return cls(**found)

    def to_json(self) -> dict[str, Any]:
        """Return the values under the keys of Tune's results and of records."""
        return {_KEYS.get(one.name, one.name): getattr(self, one.name) for one in fields(self)}
