"""Points made of other points: Tune's perturbation, kept within the domains of a search space."""

import math
import random
from collections.abc import Callable, Collection, Mapping
from typing import Any

from search_spaces.domains import Choice, Domain, Range
from search_spaces.space import Space
from search_spaces.values import is_number


def mutation(domain: Domain) -> list[Any] | Callable[[], Any]:
    """Return a domain in Tune's form: values to step between, or a function that draws a number.

    Numbers are in their order, whatever the order in the sweep file: the next one is the neighbour.
    """
    if isinstance(domain, Choice):
        values = list(domain.values)
        return sorted(values) if all(map(is_number, values)) else values  # type: ignore[type-var]
    return list(domain.grid()) if domain.step is not None else lambda: _drawn(domain)


def within(domain: Domain, value: Any) -> Any:
    """Return a perturbed value, or the end of the range that it left."""
    if isinstance(domain, Choice) or domain.step is not None:
        return value
    return min(max(value, domain.low), domain.high)


def explore(
    point: Mapping[str, Any],
    space: Space,
    fields: Collection[str],
    resample: float,
    allowed: Callable[[Mapping[str, Any]], bool],
) -> dict[str, Any]:
    """Return a point with its `fields` drawn anew, with that probability, or else perturbed.

    By Tune's own rules: a number times 0.8 or 1.2, a value of several to its neighbour. Draws from
    Python's `random`. A point that breaks a rule is made again; the old one stays where none that
    keeps the rules was found.
    """
    from ray.tune.schedulers.pbt import _explore

    active = {path: mutation(space[path]) for path in fields if path in point}
    for _ in range(_ATTEMPTS):
        made, _said = _explore(dict(point), active, resample, _FACTORS, None)
        bounded = {**made, **{path: within(space[path], made[path]) for path in active}}
        if allowed(bounded):
            return bounded
    return dict(point)


_ATTEMPTS = 20
_FACTORS: Any = (1.2, 0.8)


def _drawn(domain: Range) -> float:
    """Draw a value of a range without steps, on its scale."""
    if domain.log:
        drawn = math.exp(random.uniform(math.log(domain.low), math.log(domain.high)))
    else:
        drawn = random.uniform(domain.low, domain.high)
    return within(domain, round(drawn) if domain.whole else drawn)  # type: ignore[no-any-return]
