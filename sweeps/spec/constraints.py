"""Limits on what is measured of a trial: ``peak_memory_gb: "< 22"``."""

import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from search_spaces.issues import Issue, SpaceError, raise_any, show
from workers.measures import MEASURES, reported_as

_FORM = re.compile(r"\s*(<=|>=|<|>)\s*([-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?)\s*")


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
        if beyond < 0 or (beyond == 0 and "=" in self.sign):
            return beyond
        # The limit itself, where it is excluded, and NaN are beyond it too.
        return math.inf if math.isnan(beyond) else max(beyond, math.ulp(self.limit))

    def for_good(self) -> bool:
        """Tell whether a rung that breaks the limit breaks it for all that follow."""
        measure = MEASURES.get(self.quantity)
        return measure is not None and not measure.can_recover(upper=self.sign.startswith("<"))


@dataclass(frozen=True, kw_only=True)
class Judgement:
    """How a trial's values stand against the limits."""

    excesses: Mapping[str, float]
    """Quantity -> by how much it is beyond its limit; 0 or less is within it."""
    violates: str | None
    """The values beyond their limits as text; None when all limits are kept."""
    for_good: bool
    """No later rung can keep what is broken now."""


def judge(
    constraints: Iterable[Constraint], now: Mapping[str, float], best: Mapping[str, float]
) -> Judgement:
    """Judge a trial by what it reported ``now`` and at its ``best`` rung, by keys of a report.

    What can only stay or get worse is judged as it is now, all else as it was at the best rung.
    A quantity that was not reported yet breaks nothing.
    """
    excesses, broken, for_good = {}, [], False
    for constraint in constraints:
        quantity = constraint.quantity
        value = (now if constraint.for_good() else best).get(reported_as(quantity))
        if value is None:
            continue
        excesses[quantity] = constraint.excess(value)
        if excesses[quantity] > 0:
            broken.append(f"{quantity} is {value:.6g}, must be {constraint}")
            for_good |= constraint.for_good()
    return Judgement(excesses=excesses, violates="; ".join(broken) or None, for_good=for_good)


def read_constraints(value: Any) -> tuple[Constraint, ...]:
    """Return the limits that a file has as ``{quantity: "< 22"}``; raises `SpaceError`."""
    if isinstance(value, tuple):  # they were read before
        return value
    if not isinstance(value, Mapping):
        must = 'must be a mapping such as {adapter_mb: "<= 50"}'
        raise SpaceError(Issue((), must, show(value)))
    read, issues = [], []
    for quantity, text in value.items():
        parts = _FORM.fullmatch(text) if isinstance(text, str) else None
        if parts and math.isfinite(limit := float(parts[2])):
            read.append(Constraint(quantity=str(quantity), sign=parts[1], limit=limit))
        else:
            must = 'must be a limit such as "< 22": <, <=, > or >= and a number'
            issues.append(Issue((str(quantity),), must, show(text)))
    raise_any(issues)
    return tuple(read)


def constraints_form(constraints: Iterable[Constraint]) -> dict[str, str]:
    """Return the limits as a file has them."""
    return {each.quantity: f"{each.sign} {each.limit!r}" for each in constraints}
