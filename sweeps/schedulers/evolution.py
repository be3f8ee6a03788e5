"""Evolution of a population: which trial takes over whose state, and with which point.

Selection and perturbation are those of Tune's `PopulationBasedTraining`, which cannot schedule
here: it rejects every search algorithm (`on_trial_add`); it takes the trials that have begun for
the whole population, and waits for ever when one ends while the others wait for it; it uses a
shared random state and loses its decisions with the driver, so a resumed sweep would decide
differently; and it supports neither the ends of a range nor rules between fields.
"""

import math
import random
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

from search_spaces.domains import Choice, Domain
from search_spaces.space import Space
from search_spaces.values import is_number
from sweeps.results.segments import Segment
from sweeps.trial import Point

_ATTEMPTS = 20
_FACTORS: Any = (1.2, 0.8)


@dataclass(frozen=True, kw_only=True, eq=False)
class Member:
    """A trial that waits to be compared, in the form that Tune's scheduler reads."""

    trial: str
    score: float
    """Higher is better; minus infinity for a trial that cannot be a donor."""
    point: Point

    def is_finished(self) -> bool:
        """Return False: ended trials are not members."""
        return False


def evolve(
    members: Sequence[Member],
    rung: int,
    quantile: float,
    explore: Callable[[Point], Point],
    seed: str,
) -> tuple[Segment, ...]:
    """Return the new segments of those in the lower quantile, worst first.

    The same members, rung and seed give the same segments, in whatever order they came.
    `explore` returns a changed point of a donor, with Python's `random`.
    """
    from ray.tune.schedulers import PopulationBasedTraining

    # Tune requires a function that explores, but `_quantiles` does not call it.
    tune: Any = PopulationBasedTraining(quantile_fraction=quantile, custom_explore_fn=dict)
    ordered = sorted(members, key=lambda one: one.trial)
    tune._trial_state = {one: SimpleNamespace(last_score=one.score) for one in ordered}
    lower, upper = tune._quantiles()
    donors = [member for member in upper if member.score > -math.inf]
    if not donors:
        return ()
    found, state = [], random.getstate()
    random.seed(seed)  # Tune uses no other random state
    try:
        for loser in lower:
            donor = random.choice(donors)
            point = explore(donor.point)
            perturbed = tuple(path for path in point if point[path] != donor.point[path])
            segment = Segment(
                trial=loser.trial, rung=rung, donor=donor.trial, point=point, perturbed=perturbed
            )
            found.append(segment)
    finally:
        random.setstate(state)
    return tuple(found)


def explore(
    point: Point,
    space: Space,
    fields: Collection[str],
    resample: float,
    allowed: Callable[[Point], bool],
) -> dict[str, Any]:
    """Return a point with its `fields` sampled again, with that probability, or else perturbed.

    By Tune's own rules, with Python's `random`: a number times 0.8 or 1.2, one of several values
    to its neighbour. A point that breaks a rule is changed again; if none that satisfies them is
    found, the point is returned as it was.
    """
    from ray.tune.schedulers.pbt import _explore

    active = {path: _mutation(space[path]) for path in fields if path in point}
    for _ in range(_ATTEMPTS):
        made, _notes = _explore(dict(point), active, resample, _FACTORS, None)
        bounded = {**made, **{path: _within(space[path], made[path]) for path in active}}
        if allowed(bounded):
            return bounded
    return dict(point)


def _mutation(domain: Domain) -> list[Any] | Callable[[], Any]:
    """Return a domain in Tune's form: values to step between, or a function that samples a number.

    Numbers are sorted, whatever the order in the sweep file: the next one is the neighbour.
    """
    if isinstance(domain, Choice):
        values = list(domain.values)
        return sorted(values) if all(map(is_number, values)) else values  # type: ignore[type-var]
    if domain.step is not None:
        return list(domain.grid())

    def sampled() -> Any:
        if domain.log:
            value = math.exp(random.uniform(math.log(domain.low), math.log(domain.high)))
        else:
            value = random.uniform(domain.low, domain.high)
        return _within(domain, round(value) if domain.whole else value)

    return sampled


def _within(domain: Domain, value: Any) -> Any:
    """Return a perturbed value, or the end of the range that it left."""
    if isinstance(domain, Choice) or domain.step is not None:
        return value
    return min(max(value, domain.low), domain.high)
