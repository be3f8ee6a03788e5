"""Trials that wait for each other, and continue as the population decides."""

from typing import Any

from ray.tune.experiment import Trial
from ray.tune.schedulers import FIFOScheduler, TrialScheduler

from sweeps.rung_result import RungResult
from sweeps.schedulers import trial_name
from sweeps.schedulers.population import Population, Selection


class PopulationScheduler(FIFOScheduler):
    """Pauses each trial at the rungs of a comparison until all others are there or have ended.

    Tune's config of a trial keeps the sampled point: the point with which it continues is in the
    population's record, where its host reads it.
    """

    def __init__(self, selection: Selection) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._selection = selection
        self._population: Population | None = None
        self._rungs: dict[Any, int] = {}
        """Trial that has not ended -> its last known rung."""
        self._waiting: dict[Any, RungResult] = {}
        """Trial that waits to be compared -> its result there."""

    def join(self, population: Population) -> None:
        """Set the population that the trials belong to."""
        self._population = population

    def on_trial_add(self, tune_controller: Any, trial: Any) -> None:
        """Add a trial; one that was open under an earlier driver soon reports its rung."""
        self._rungs[trial] = 0

    def on_trial_result(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> str:
        """Pause a trial at a rung at which it has not been compared yet."""
        rung = self._rungs[trial] = result["rung"]
        decided = self._population and self._population.decided(trial_name(trial), rung)
        if decided or not self._selection.compares_at(rung):
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
        population, waiting = self._population, self._waiting
        rung = min((result.rung for result in waiting.values()), default=0)
        arrived = all(done >= rung for done in self._rungs.values())
        if arrived and waiting and population and not population.to_come():
            members = [trial for trial, result in waiting.items() if result.rung == rung]
            results = {trial_name(trial): waiting.pop(trial) for trial in members}
            sampled = {trial_name(trial): trial.config["point"] for trial in members}
            population.evolve(rung, results, sampled, self._selection)
            for trial in members:
                tune_controller.search_alg.searcher.on_unpause(trial.trial_id)
        ready = [
            trial
            for trial in self._rungs
            if trial.status in (Trial.PENDING, Trial.PAUSED) and trial not in waiting
        ]
        return min(ready, key=lambda trial: self._rungs[trial], default=None)
