"""Who of a population takes over whose state: Tune's own truncation selection, asked all at once.

Why Tune's `PopulationBasedTraining` decides here but does not schedule: it refuses every search
algorithm (`on_trial_add`); it takes the trials that have begun for the whole population, and waits
for ever when one of them ends while the others wait for it; it draws from a shared random state and
forgets its decisions with the driver, so a resumed sweep would decide otherwise; and it knows
neither the ends of a range nor rules between fields.
"""

import math
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

from sweeps.results.segments import Segment

Explore = Callable[[Mapping[str, Any]], dict[str, Any]]
"""Makes a point of a donor's; draws from Python's `random`."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Member:
    """A trial that waits to be compared, as Tune's scheduler wants to see it."""

    trial: str
    score: float
    """Higher is better; minus infinity for a trial that can give nothing to others."""
    point: Mapping[str, Any]

    def is_finished(self) -> bool:
        """Say that it goes on: who has ended is no member."""
        return False


def evolve(
    members: Sequence[Member], rung: int, quantile: float, explore: Explore, seed: str
) -> tuple[Segment, ...]:
    """Return the new segments of those in the lower quantile, worst first.

    The same members, rung and seed give the same segments, in whatever order they came.
    """
    lower, upper = _quantiles(sorted(members, key=lambda one: one.trial), quantile)
    donors = [member for member in upper if member.score > -math.inf]
    if not donors:
        return ()
    with _seeded(seed):
        return tuple(_segment(loser, random.choice(donors), rung, explore) for loser in lower)


def _quantiles(
    members: Sequence[Member], quantile: float
) -> tuple[Sequence[Member], Sequence[Member]]:
    """Return who takes over, worst first, and who gives."""
    from ray.tune.schedulers import PopulationBasedTraining

    tune = PopulationBasedTraining(
        quantile_fraction=quantile,
        custom_explore_fn=dict,  # it wants to be told how to explore, but is not asked to
    )
    scores: Any = {member: SimpleNamespace(last_score=member.score) for member in members}
    tune._trial_state = scores
    found: Any = tune._quantiles()
    return found[0], found[1]


def _segment(loser: Member, donor: Member, rung: int, explore: Explore) -> Segment:
    point = explore(donor.point)
    return Segment(
        trial=loser.trial,
        rung=rung,
        donor=donor.trial,
        point=point,
        perturbed=tuple(path for path in point if point[path] != donor.point[path]),
    )


@contextmanager
def _seeded(seed: str) -> Iterator[None]:
    """Let Python's `random` begin from a seed; Tune draws from nothing else."""
    before = random.getstate()
    random.seed(seed)
    try:
        yield
    finally:
        random.setstate(before)
