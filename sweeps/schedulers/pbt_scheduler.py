"""Trials that wait for each other, and go on as the population decides."""

from typing import Any

from ray.tune.experiment import Trial
from ray.tune.schedulers import FIFOScheduler, TrialScheduler

from sweeps.rung_result import RungResult
from sweeps.schedulers.population import Population
from sweeps.schedulers.selection import Selection
from sweeps.trial import trial_id


class PopulationScheduler(FIFOScheduler):
    """Pauses each trial at the rungs of a comparison until all others are there or over.

    Tune's config of a trial keeps the point that was drawn: with which one it goes on stands in the
    population's record, where its host reads it.
    """

    def __init__(self, selection: Selection) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._selection = selection
        self._population: Population | None = None
        self._rungs: dict[Any, int] = {}
        """Trial that is not over -> the last rung that it is known to have done."""
        self._waiting: dict[Any, RungResult] = {}
        """Trial that waits to be compared -> its result there."""

    def join(self, population: Population) -> None:
        """Take the population whose trials these are."""
        self._population = population

    def on_trial_add(self, tune_controller: Any, trial: Any) -> None:
        """Take a trial; one that was open under an earlier driver tells its rung soon."""
        self._rungs[trial] = 0

    def on_trial_result(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> str:
        """Let a trial wait at the rungs at which it has not been compared yet."""
        rung = self._rungs[trial] = result["rung"]
        if not self._selection.compares_at(rung) or self._is_decided(trial, rung):
            return str(TrialScheduler.CONTINUE)
        self._waiting[trial] = RungResult.from_json(result)
        tune_controller.search_alg.searcher.on_pause(trial.trial_id)
        return str(TrialScheduler.PAUSE)

    def on_trial_complete(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> None:
        """Wait for a trial no more that has ended."""
        self._forget(trial)

    def on_trial_remove(self, tune_controller: Any, trial: Any) -> None:
        """Wait for a trial no more that ended while it waited."""
        self._forget(trial)

    def on_trial_error(self, tune_controller: Any, trial: Any) -> None:
        """Wait for a trial no more whose processes died; one that is retried is added again."""
        self._forget(trial)

    def choose_trial_to_run(self, tune_controller: Any) -> Any:
        """Return the trial with the fewest rungs of those that need wait for nobody.

        Tune asks again and again, also while nothing runs, so trials are compared here: the one
        that was waited for may have ended in any way, or never begun.
        """
        self._compare(tune_controller)
        ready = [
            trial
            for trial in self._rungs
            if trial.status in (Trial.PENDING, Trial.PAUSED) and trial not in self._waiting
        ]
        return min(ready, key=lambda trial: self._rungs[trial], default=None)

    def _forget(self, trial: Any) -> None:
        self._rungs.pop(trial, None)
        self._waiting.pop(trial, None)

    def _is_decided(self, trial: Any, rung: int) -> bool:
        return self._population is not None and self._population.decided(_name(trial), rung)

    def _compare(self, tune_controller: Any) -> None:
        """Compare those that wait at the lowest rung, once nobody is still to reach it."""
        if not self._waiting or self._population is None or self._population.to_come():
            return
        rung = min(result.rung for result in self._waiting.values())
        if any(done < rung for done in self._rungs.values()):
            return
        members = [trial for trial, result in self._waiting.items() if result.rung == rung]
        results = {_name(trial): self._waiting.pop(trial) for trial in members}
        drawn = {_name(trial): trial.config["point"] for trial in members}
        self._population.evolve(rung, results, drawn, self._selection)
        for trial in members:
            tune_controller.search_alg.searcher.on_unpause(trial.trial_id)


def _name(trial: Any) -> str:
    return trial_id(trial.config["number"])
