"""Limits on what is measured of a trial: ``peak_memory_gb: "< 22"``."""

import math
import operator
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from search_spaces.issues import Issue, SpaceError, raise_any, show
from workers.measures import MEASURES, reported_as

_HOLDS: Mapping[str, Callable[[float, float], bool]] = {
    "<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge,
}  # fmt: skip
_FORM = re.compile(r"\s*(<=|>=|<|>)\s*(\S+)\s*")


@dataclass(frozen=True, kw_only=True)
class Constraint:
    """One limit."""

    quantity: str
    """A score such as ``valid_format``, ``loss``, or one of `workers.measures`."""
    sign: str
    limit: float

    def __str__(self) -> str:
        return f"{self.sign} {self.limit:g}"

    def excess(self, value: float) -> float:
        """Return by how much a value is beyond the limit; 0 or less is within it."""
        beyond = value - self.limit if self.sign.startswith("<") else self.limit - value
        if _HOLDS[self.sign](value, self.limit):
            return beyond
        # The limit itself, where it is excluded, and NaN are beyond it too.
        return math.inf if math.isnan(beyond) else max(beyond, math.ulp(self.limit))

    def for_good(self) -> bool:
        """Tell whether a rung that breaks the limit breaks it for all that follow."""
        measure = MEASURES.get(self.quantity)
        return measure is not None and not measure.can_recover(upper=self.sign.startswith("<"))

    def said_of(self, value: float) -> str:
        """Return what a value is and must be, in words."""
        return f"{self.quantity} is {value:.6g}, must be {self}"


@dataclass(frozen=True, kw_only=True)
class Judgement:
    """What a trial's values are worth against the limits."""

    excesses: Mapping[str, float]
    """Quantity -> by how much it is beyond its limit; 0 or less is within it."""
    violates: str | None
    """What is beyond its limit, in words; None when all limits are kept."""
    for_good: bool
    """No later rung can keep what is broken now."""


def judge(
    constraints: Iterable[Constraint], now: Mapping[str, float], best: Mapping[str, float]
) -> Judgement:
    """Judge a trial by what it reported ``now`` and at its ``best`` rung, by keys of a report.

    What can only stay or get worse is judged as it is now, all else as it was at the best rung.
    A quantity that was not reported yet breaks nothing.
    """
    found = []
    for constraint in constraints:
        key = reported_as(constraint.quantity)
        value = (now if constraint.for_good() else best).get(key)
        if value is not None:
            found.append((constraint, value, constraint.excess(value)))
    broken = [(constraint, value) for constraint, value, excess in found if excess > 0]
    return Judgement(
        excesses={constraint.quantity: excess for constraint, _, excess in found},
        violates="; ".join(constraint.said_of(value) for constraint, value in broken) or None,
        for_good=any(constraint.for_good() for constraint, _ in broken),
    )


def read_constraints(value: Any) -> tuple[Constraint, ...]:
    """Return the limits that a file has as ``{quantity: "< 22"}``.

    Raises `SpaceError` with all that is wrong with them.
    """
    if isinstance(value, tuple):  # they were read before
        return value
    if not isinstance(value, Mapping):
        must = 'must be a mapping such as {adapter_mb: "<= 50"}'
        raise SpaceError(Issue((), must, show(value)))
    read = {str(quantity): _read(str(quantity), limit) for quantity, limit in value.items()}
    must = 'must be a limit such as "< 22": <, <=, > or >= and a number'
    raise_any(
        Issue((quantity,), must, show(value[quantity]))
        for quantity, constraint in read.items()
        if constraint is None
    )
    return tuple(constraint for constraint in read.values() if constraint)


def form(constraints: Iterable[Constraint]) -> dict[str, str]:
    """Return the limits as a file has them."""
    return {each.quantity: f"{each.sign} {each.limit!r}" for each in constraints}


def _read(quantity: str, text: Any) -> Constraint | None:
    parts = _FORM.fullmatch(text) if isinstance(text, str) else None
    try:
        limit = float(parts[2]) if parts else math.nan
    except ValueError:
        return None
    if parts is None or not math.isfinite(limit):
        return None
    return Constraint(quantity=quantity, sign=parts[1], limit=limit)
