"""The trials of one sweep that take over from each other: compared, and on record at once."""

import math
from collections.abc import Callable, Collection, Mapping
from functools import partial
from typing import Any

from sweeps.results import segments
from sweeps.results.folder import SweepFolder
from sweeps.results.segments import Generation, Segment
from sweeps.rung_result import RungResult
from sweeps.schedulers.evolution import Member, evolve
from sweeps.schedulers.perturbation import explore
from sweeps.schedulers.selection import Selection
from sweeps.spec.mutable import mutable_fields
from sweeps.spec.sweep import Sweep


class Population:
    """Compares trials at a rung and gives the worst of them the state of the best.

    Args:
        sweep: knows the objective, the space and the rules.
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
        drawn: Mapping[str, Mapping[str, Any]],
        selection: Selection,
    ) -> None:
        """Compare trials by their results at a rung, and put on record what comes of it.

        `drawn` are the points that the sampler gave them.
        """
        before, search = segments.every(self._folder), self._sweep.search
        members = [
            Member(trial=trial, score=self._score(result), point=_now(before, trial, drawn[trial]))
            for trial, result in results.items()
        ]
        exploring = partial(
            explore,
            space=search.space,
            fields=mutable_fields(search.space, selection.fields),
            resample=selection.resample,
            allowed=lambda point: self._sweep.refusal(point) is None,
        )
        found = evolve(members, rung, selection.quantile, exploring, self._seed(rung, results))
        scores = {trial: result.score for trial, result in sorted(results.items())}
        segments.keep(self._folder, Generation(rung=rung, scores=scores, segments=found))
        self._decided |= {(trial, rung) for trial in results}

    def _score(self, result: RungResult) -> float:
        """Return how good a trial is: minus infinity for one that should pass nothing on."""
        value = result.score
        unhealthy = result.symptoms and self._sweep.guard.stop
        if value is None or unhealthy or result.violates:
            return -math.inf
        return value if self._sweep.search.objective.mode == "max" else -value

    def _seed(self, rung: int, trials: Collection[str]) -> str:
        seed = self._sweep.search.sampler.seed
        own = self._folder.sweep_id if seed is None else str(seed)
        return " ".join([own, str(rung), *sorted(trials)])


def _now(every: list[Segment], trial: str, drawn: Mapping[str, Any]) -> Mapping[str, Any]:
    return segments.point_at([one for one in every if one.trial == trial], drawn)
