"""Scales of the plots: where on an axis a value lies, between 0 and 1, and its ticks."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from search_spaces.domains import Choice, Range

Tick: TypeAlias = tuple[float, str]
"""A place between 0 and 1, and its label."""


@dataclass(frozen=True, kw_only=True)
class Numbers:
    """A range of numbers."""

    title: str
    low: float
    high: float
    log: bool = False
    """Whether every power of ten takes the same room; both ends are above 0 then."""

    def place(self, value: Any) -> float | None:
        """Return where a value lies, an outlier at the nearer end; None for what is no number."""
        if not is_number(value) or (self.log and value <= 0):
            return None
        if self.high <= self.low:
            return 0.5
        low, high, own = self.low, self.high, float(value)
        if self.log:
            low, high, own = map(math.log10, (low, high, own))
        return min(1.0, max(0.0, (own - low) / (high - low)))

    def ticks(self) -> list[Tick]:
        """Return round numbers within the range; its ends where there are too few of them."""
        from matplotlib.ticker import LogLocator, MaxNLocator

        shown = []
        if self.high > self.low:
            locator = LogLocator() if self.log else MaxNLocator(5, steps=[1, 2, 2.5, 5, 10])
            found = map(float, locator.tick_values(self.low, self.high))
            shown = [each for each in found if self.low <= each <= self.high]
        if len(shown) < 2:
            shown = sorted({self.low, self.high})
        return [(self.place(each) or 0.0, format_value(each)) for each in shown]


@dataclass(frozen=True, kw_only=True)
class Choices:
    """Single values, in the order in which they are named."""

    title: str
    values: tuple[Any, ...]

    def place(self, value: Any) -> float | None:
        """Return where a value lies; None for one that is not among them."""
        texts = list(map(str, self.values))
        return (texts.index(str(value)) + 0.5) / len(texts) if str(value) in texts else None

    def ticks(self) -> list[Tick]:
        """Return all values."""
        count = len(self.values)
        return [((at + 0.5) / count, format_value(each)) for at, each in enumerate(self.values)]


Scale: TypeAlias = Numbers | Choices


def scale_of_field(path: str, domain: Choice | Range, sampled: Iterable[Any]) -> Scale:
    """Return the scale of a swept field, wide enough for all `sampled` values."""
    if isinstance(domain, Choice):
        others = [each for each in sampled if not domain.contains(each)]
        return Choices(title=path, values=tuple(dict.fromkeys([*domain.values, *others])))
    ends = [domain.low, domain.high, *(each for each in sampled if is_number(each))]
    return Numbers(title=path, low=min(ends), high=max(ends), log=domain.log)


def scale_of_values(title: str, values: Sequence[float], *, ceiling: float = math.inf) -> Numbers:
    """Return the scale of results, which ends at `ceiling`; values above it are off the scale."""
    found = [min(each, ceiling) for each in values if is_number(each)] or [0.0]
    return Numbers(title=title, low=min(found), high=max(found))


def is_number(value: Any) -> bool:
    """Tell whether a value can lie on a scale of numbers."""
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def format_value(value: Any) -> str:
    """Return a value as a label."""
    return f"{value:.4g}" if isinstance(value, float) else str(value)
