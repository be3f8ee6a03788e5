"""Correction of the estimate by what steps and captions really took.

On a GPU the peak is `torch.cuda.max_memory_allocated`, which counts tensors alone. On a CPU there
is no such number: the resident size of a process holds what was freed, and never shrinks. So
nothing is corrected there.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace

from workers.memory.footprint import Footprint

LEAST = 0.5
"""No correction goes below: what was measured so far may have had short captions only."""


@dataclass(frozen=True, kw_only=True)
class Reading:
    """Bytes of tensors on a GPU, while a step was taken or captions were written."""

    peak: float
    """Most at a time."""
    held: float
    """What is still there afterwards: weights, moments, kept features."""

    @property
    def passing(self) -> float:
        """What came and went."""
        return max(0.0, self.peak - self.held)


@dataclass(frozen=True, kw_only=True)
class Correction:
    """By what to multiply an estimate: measured by estimated bytes, where anything was measured."""

    training: float | None = None
    """Of what a step takes."""
    writing: float | None = None
    """Of what captions take."""

    def after_step(self, estimated: float, reading: Reading) -> "Correction":
        """Return it after one more step, of which `estimated` bytes were expected."""
        return replace(self, training=_larger(self.training, _ratio(estimated, reading)))

    def after_captions(self, estimated: float, reading: Reading) -> "Correction":
        """Return it after one more batch of captions, see `after_step`."""
        return replace(self, writing=_larger(self.writing, _ratio(estimated, reading)))

    def of(self, estimated: Footprint) -> Footprint:
        """Return what is to be expected in place of an estimate; weights stay."""
        return estimated.scaled(_factor(self.training), _factor(self.writing))


def largest(corrections: Iterable[Correction]) -> Correction:
    """Return what holds for several hosts: the largest ratios that any of them has measured."""
    found = Correction()
    for each in corrections:
        found = Correction(
            training=_larger(found.training, each.training),
            writing=_larger(found.writing, each.writing),
        )
    return found


def _ratio(estimated: float, reading: Reading) -> float | None:
    return reading.passing / estimated if estimated else None


def _larger(one: float | None, other: float | None) -> float | None:
    """Return the larger ratio of two: too little is to be estimated only once."""
    return max((each for each in (one, other) if each is not None), default=None)


def _factor(ratio: float | None) -> float:
    return 1.0 if ratio is None else max(LEAST, ratio)
