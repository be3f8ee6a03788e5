"""A population of trials that wait for each other; the worst take over the state of the best."""

import math
from collections.abc import Callable
from functools import partial
from typing import Any

from ray.tune.experiment import Trial
from ray.tune.schedulers import FIFOScheduler, TrialScheduler

from sweeps.results import segments
from sweeps.results.folder import SweepFolder
from sweeps.results.segments import Generation
from sweeps.rung_result import RungResult
from sweeps.schedulers import trial_name
from sweeps.schedulers.evolution import Member, evolve, explore
from sweeps.spec.mutable import mutable_fields
from sweeps.spec.sweep import Sweep


class PopulationScheduler(FIFOScheduler):
    """Pauses each trial at the rungs of a comparison until all others are there or have ended.

    Tune's config of a trial keeps the sampled point: the point with which it continues is in the
    population's record, where its host reads it.

    Args:
        first: first rung at which trials are compared.
        interval: rungs from one comparison to the next.
        epochs: rungs of each trial; the last one has no comparison.
        quantile, resample, fields: see `sweeps.schedulers.pbt.make`.
    """

    def __init__(
        self,
        *,
        first: int,
        interval: int,
        epochs: int,
        quantile: float,
        resample: float,
        fields: tuple[str, ...] | None,
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._compared_at = range(first, epochs, interval)
        self._quantile, self._resample, self._fields = quantile, resample, fields
        self._rungs: dict[Any, int] = {}
        """Trial that has not ended -> its last known rung."""
        self._waiting: dict[Any, RungResult] = {}
        """Trial that waits to be compared -> its result there."""
        self._decided: set[tuple[str, int]] = set()
        """Trials that were compared at a rung, by this driver or an earlier one."""

    def join(self, sweep: Sweep, folder: SweepFolder, to_come: Callable[[], bool]) -> None:
        """Set the sweep and its folder; `to_come` tells whether further trials will begin."""
        self._sweep, self._folder, self._to_come = sweep, folder, to_come
        segments.settle(folder)
        for generation in segments.generations(folder):
            self._decided |= {(trial, generation.rung) for trial in generation.scores}

    def on_trial_add(self, tune_controller: Any, trial: Any) -> None:
        """Add a trial; one that was open under an earlier driver soon reports its rung."""
        self._rungs[trial] = 0

    def on_trial_result(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> str:
        """Pause a trial at a rung at which it has not been compared yet."""
        rung = self._rungs[trial] = result["rung"]
        if rung not in self._compared_at or (trial_name(trial), rung) in self._decided:
            return str(TrialScheduler.CONTINUE)
        self._waiting[trial] = RungResult.from_json(result)
        tune_controller.search_alg.searcher.on_pause(trial.trial_id)
        return str(TrialScheduler.PAUSE)

    def on_trial_complete(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> None:
        """Stop waiting for a trial that has ended."""
        self.on_trial_remove(tune_controller, trial)

    def on_trial_error(self, tune_controller: Any, trial: Any) -> None:
        """Stop waiting for a trial whose processes died; one that is retried is added again."""
        self.on_trial_remove(tune_controller, trial)

    def on_trial_remove(self, tune_controller: Any, trial: Any) -> None:
        """Stop waiting for a trial that ended while it waited."""
        self._rungs.pop(trial, None)
        self._waiting.pop(trial, None)

    def choose_trial_to_run(self, tune_controller: Any) -> Any:
        """Return the trial with the fewest rungs that need not wait.

        Tune calls this repeatedly, also while nothing runs, so trials are compared here, once all
        have reached the lowest rung at which one waits: the last one may have ended in any way, or
        never begun.
        """
        rung = min((result.rung for result in self._waiting.values()), default=0)
        arrived = all(done >= rung for done in self._rungs.values())
        if self._waiting and arrived and not self._to_come():
            members = [trial for trial, result in self._waiting.items() if result.rung == rung]
            self._compare(rung, {trial: self._waiting.pop(trial) for trial in members})
            for trial in members:
                tune_controller.search_alg.searcher.on_unpause(trial.trial_id)
        idle = (trial for trial in self._rungs if trial.status in (Trial.PENDING, Trial.PAUSED))
        ready = (trial for trial in idle if trial not in self._waiting)
        return min(ready, key=lambda trial: self._rungs[trial], default=None)

    def _compare(self, rung: int, results: dict[Any, RungResult]) -> None:
        """Compare trials by their results at a rung, and record what follows from it."""
        search, before = self._sweep.search, segments.every(self._folder)
        sign = 1 if search.objective.mode == "max" else -1
        members, scores = [], {}
        for trial in sorted(results, key=trial_name):
            name, result = trial_name(trial), results[trial]
            # An unhealthy trial, or one that violates a limit, passes nothing on.
            unfit = (result.symptoms and self._sweep.guard.stop) or result.violates
            score = -math.inf if result.score is None or unfit else sign * result.score
            own = [segment for segment in before if segment.trial == name]
            point = segments.point_at(own, trial.config["point"])
            members.append(Member(trial=name, score=score, point=point))
            scores[name] = result.score
        exploring = partial(
            explore,
            space=search.space,
            fields=mutable_fields(search.space, self._fields),
            resample=self._resample,
            allowed=lambda point: self._sweep.refusal(point) is None,
        )
        seed = self._folder.sweep_id if search.sampler.seed is None else search.sampler.seed
        own_seed = " ".join([str(seed), str(rung), *scores])
        found = evolve(members, rung, self._quantile, exploring, own_seed)
        segments.keep(self._folder, Generation(rung=rung, scores=scores, segments=found))
        self._decided |= {(name, rung) for name in scores}
