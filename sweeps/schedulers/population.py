"""The population of PBT: which trial takes over whose state, and with which point.

Selection and perturbation are those of Tune's `PopulationBasedTraining`, which cannot schedule
here: it rejects every search algorithm (`on_trial_add`); it takes the trials that have begun for
the whole population, and waits for ever when one ends while the others wait for it; it uses a
shared random state and loses its decisions with the driver, so a resumed sweep would decide
differently; and it knows neither the ends of a range nor rules between fields.
"""

import math
import random
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from types import SimpleNamespace
from typing import Any

from search_spaces.domains import Choice, Domain
from search_spaces.space import Space
from search_spaces.values import is_number
from sweeps.results import segments
from sweeps.results.folder import SweepFolder
from sweeps.results.segments import Generation, Segment
from sweeps.rung_result import RungResult
from sweeps.spec.mutable import fields_of
from sweeps.spec.sweep import Sweep
from sweeps.trial import Point

_ATTEMPTS = 20
_FACTORS: Any = (1.2, 0.8)


@dataclass(frozen=True, kw_only=True)
class Selection:
    """When trials of a population are compared, and how points change.

    The fields are those of `sweeps.schedulers.pbt.make`; `first` is the first comparison's rung.
    """

    first: int
    interval: int
    epochs: int
    quantile: float
    resample: float
    fields: tuple[str, ...] | None

    def compares_at(self, rung: int) -> bool:
        """Tell whether trials wait for each other after a rung."""
        return self.first <= rung < self.epochs and (rung - self.first) % self.interval == 0


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


class Population:
    """Compares trials at a rung and gives the worst of them the state of the best.

    Args:
        sweep: has the objective, the space and the rules.
        folder: holds the record and the snapshots; only one driver at a time writes them.
        to_come: tells whether further trials will begin.
    """

    def __init__(self, sweep: Sweep, folder: SweepFolder, to_come: Callable[[], bool]) -> None:
        self._sweep, self._folder = sweep, folder
        self.to_come = to_come
        segments.settle(folder)
        self._decided = {
            (trial, generation.rung)
            for generation in segments.generations(folder)
            for trial in generation.scores
        }

    def decided(self, trial: str, rung: int) -> bool:
        """Tell whether a trial was compared at a rung, by this driver or an earlier one."""
        return (trial, rung) in self._decided

    def evolve(
        self,
        rung: int,
        results: Mapping[str, RungResult],
        sampled: Mapping[str, Point],
        selection: Selection,
    ) -> None:
        """Compare trials by their results at a rung, and record what follows from it.

        `sampled` are the points that the sampler suggested for them.
        """
        search, before = self._sweep.search, segments.every(self._folder)
        sign = 1 if search.objective.mode == "max" else -1
        members = []
        for trial, result in results.items():
            # An unhealthy trial, or one that violates a limit, passes nothing on.
            unfit = (result.symptoms and self._sweep.guard.stop) or result.violates
            score = -math.inf if result.score is None or unfit else sign * result.score
            own = [segment for segment in before if segment.trial == trial]
            point = segments.point_at(own, sampled[trial])
            members.append(Member(trial=trial, score=score, point=point))
        exploring = partial(
            explore,
            space=search.space,
            fields=fields_of(search.space, selection.fields),
            resample=selection.resample,
            allowed=lambda point: self._sweep.refusal(point) is None,
        )
        seed = self._folder.sweep_id if search.sampler.seed is None else search.sampler.seed
        own_seed = " ".join([str(seed), str(rung), *sorted(results)])
        found = evolve(members, rung, selection.quantile, exploring, own_seed)
        scores = {trial: result.score for trial, result in sorted(results.items())}
        segments.keep(self._folder, Generation(rung=rung, scores=scores, segments=found))
        self._decided |= {(trial, rung) for trial in results}


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
    tune._trial_state = {
        member: SimpleNamespace(last_score=member.score)
        for member in sorted(members, key=lambda one: one.trial)
    }
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
