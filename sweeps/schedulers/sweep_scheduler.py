"""One of Tune's schedulers under the rules of a sweep: the rungs that it gets, what it decides."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ray.tune.experiment import Trial
from ray.tune.schedulers import TrialScheduler

from sweeps import schedulers
from sweeps.results import record
from sweeps.results.budget import Spent
from sweeps.rung_result import RungResult
from sweeps.schedulers import PastTrial, fidelity, trial_name
from sweeps.spec import plugins
from sweeps.spec.load import Sweep


@dataclass
class _Live:
    """A trial that Tune has."""

    trial: Any
    recorded: int
    """Its last rung under an earlier driver."""
    rung: int = 0
    """The last rung that the scheduler got."""


class SweepScheduler(TrialScheduler):
    """Passes rungs with an objective on to Tune's scheduler, and its decisions back.

    It never stops the unpruned trials, which raise the grace when their low rungs predict too
    little; once the budget is used up it stops every trial after its rung.

    Args:
        sweep: names the scheduler.
        spent: the clock of the budget.
        slots: returns how many trials may run now.
        past: trials that ended under earlier drivers, by name, with their rungs.
        to_come: tells whether further trials will begin.
    """

    # A decision is about the rung at which it was taken.
    _supports_buffered_results = False

    def __init__(
        self,
        sweep: Sweep,
        spent: Spent,
        slots: Callable[[], int],
        past: Mapping[str, Sequence[RungResult]],
        to_come: Callable[[], bool],
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._sweep, self._spent = sweep, spent
        self._slots, self._to_come = slots, to_come
        self._plugin = plugins.scheduler(sweep.schedule.name)
        self._live: dict[str, _Live] = {}
        unpruned = fidelity.unpruned_trials(sweep)
        self._awaited = set(unpruned) - set(past)
        """Unpruned trials that have not ended."""
        self._unpruned = {name: list(past.get(name, ())) for name in unpruned}
        """Rungs of the unpruned trials."""
        self._replayable: list[tuple[Any, Mapping[str, Any]]] = [
            (PastTrial(name), result.to_json())
            for name, result in record.in_order(past)
            if result.score is not None
        ]
        """Rungs that the scheduler got, for one with another grace; kept until that is certain."""
        self._scheduler = self._make_scheduler(sweep.schedule.grace)
        self._adjust_grace()

    def on_trial_add(self, tune_controller: Any, trial: Any) -> None:
        """Add a trial, a new one or one that was open under an earlier driver."""
        rungs = record.latest(self._spent.folder, trial_name(trial))
        self._live[trial_name(trial)] = _Live(trial, rungs[-1].rung if rungs else 0)
        self._scheduler.on_trial_add(tune_controller, trial)

    def on_trial_result(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> str:
        """Decide on a trial after a rung; rungs on record are all replayed first."""
        rung, name = self._count(trial, result), trial_name(trial)
        decision = str(TrialScheduler.CONTINUE)
        is_replayed = rung.rung < self._live[name].recorded
        if self._is_comparable(rung) and not (is_replayed and self._plugin.PAUSES):
            self._keep(trial, rung.rung, result)
            decision = self._scheduler.on_trial_result(tune_controller, trial, result)
        if is_replayed:
            return str(TrialScheduler.CONTINUE)
        if self._spent.used_up:
            return str(TrialScheduler.STOP)
        if decision == TrialScheduler.STOP and name in self._unpruned:
            return str(TrialScheduler.CONTINUE)
        if decision == TrialScheduler.PAUSE:
            # At once: Tune itself would first have the trial save something, and a trial whose
            # process dies then would begin again and wait for no other.
            tune_controller.pause_trial(trial, should_checkpoint=False)
            return str(TrialScheduler.NOOP)
        return decision

    def on_trial_complete(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> None:
        """End a trial; its last rung is new unless the scheduler stopped it there."""
        rung = self._count(trial, result)
        if self._is_comparable(rung) and rung.rung > self._live[trial_name(trial)].rung:
            self._keep(trial, rung.rung, result)
            self._scheduler.on_trial_complete(tune_controller, trial, result)
        else:
            self._scheduler.on_trial_remove(tune_controller, trial)
        self._end(trial)

    def on_trial_remove(self, tune_controller: Any, trial: Any) -> None:
        """End a trial that was waiting."""
        self._scheduler.on_trial_remove(tune_controller, trial)
        self._end(trial)

    def on_trial_error(self, tune_controller: Any, trial: Any) -> None:
        """End a trial whose processes died too often."""
        self._scheduler.on_trial_error(tune_controller, trial)
        self._end(trial)

    def choose_trial_to_run(self, tune_controller: Any) -> Any:
        """Return a trial to start, or to resume if it has a slot."""
        waiting = [each.trial for each in self._live.values() if each.trial.status == Trial.PAUSED]
        if self._spent.used_up:
            for trial in waiting:
                tune_controller.stop_trial(trial)
            return None
        if not self._plugin.PAUSES:
            # As Tune's own do, but without going through all ended trials.
            trials = (each.trial for each in self._live.values())
            return next((trial for trial in trials if trial.status == Trial.PENDING), None)
        chosen = self._scheduler.choose_trial_to_run(tune_controller)
        if chosen in waiting and len(self._live) - len(waiting) >= self._slots():
            return None
        return chosen

    def debug_string(self) -> str:
        """Return the debug string of Tune's scheduler."""
        return str(self._scheduler.debug_string())

    def _make_scheduler(self, grace: int) -> Any:
        """Return Tune's scheduler with a grace, after it got all rungs so far."""
        schedule = self._sweep.schedule
        made = schedulers.make(
            schedule.name,
            modes=[objective.mode for objective in self._sweep.search.objectives],
            epochs=self._sweep.most_epochs,
            grace=grace,
            reduction=schedule.reduction,
            options=schedule.options,
        )
        if self._plugin.CHANGES:
            made.join(self._sweep, self._spent.folder, self._to_come)
        schedulers.replay(schedule.name, made, self._replayable)
        return made

    def _is_comparable(self, result: RungResult) -> bool:
        """Tell whether the scheduler gets a rung; one that changes points waits for all."""
        return result.is_rung and (self._plugin.CHANGES or result.score is not None)

    def _count(self, trial: Any, result: Mapping[str, Any]) -> RungResult:
        """Count a rung in the budget and among those of the unpruned trials."""
        name, rung = trial_name(trial), RungResult.from_json(result)
        self._spent.rung(name, rung)
        self._spent.keep()
        rungs = self._unpruned.get(name)
        if rungs is not None and rung.rung > (rungs[-1].rung if rungs else 0):
            rungs.append(rung)
        return rung

    def _keep(self, trial: Any, rung: int, result: Mapping[str, Any]) -> None:
        self._live[trial_name(trial)].rung = rung
        if self._awaited:
            self._replayable.append((trial, result))

    def _end(self, trial: Any) -> None:
        name = trial_name(trial)
        self._live.pop(name, None)
        if name in self._awaited:
            self._awaited.remove(name)
            self._adjust_grace()

    def _adjust_grace(self) -> None:
        """Once the unpruned trials have ended, raise the grace if low rungs predict too little."""
        if self._awaited:
            return
        schedule, rungs = self._sweep.schedule, [*self._unpruned.values()]
        found = fidelity.measure(rungs, schedule, self._sweep.most_epochs)
        if found and found.grace > schedule.grace:
            self._scheduler = self._make_scheduler(found.grace)
            for each in self._live.values():
                if not each.rung:  # the others were added with their rungs
                    self._scheduler.on_trial_add(None, each.trial)
        self._replayable.clear()
