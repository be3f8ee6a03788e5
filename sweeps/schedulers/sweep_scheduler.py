"""One of Tune's schedulers under the rules of a sweep: what it is shown, and what is done then."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ray.tune.experiment import Trial
from ray.tune.schedulers import TrialScheduler

from sweeps import schedulers
from sweeps.results import record
from sweeps.results.budget import Spent
from sweeps.rung_result import RungResult
from sweeps.schedulers import PastTrial, fidelity
from sweeps.schedulers.population import Population
from sweeps.spec import plugins
from sweeps.spec.load import Sweep
from sweeps.trial import trial_id


@dataclass
class _Live:
    """A trial that Tune has."""

    trial: Any
    recorded: int
    """The last rung that it did under an earlier driver."""
    rung: int = 0
    """The last one that the scheduler was shown."""


class SweepScheduler(TrialScheduler):
    """Passes rungs with an objective on to Tune's scheduler, and its decisions back.

    Besides: the first trials are never stopped, and raise the grace when their low rungs turn
    out to say little; once the budget is used up every trial is stopped after its rung.

    Args:
        sweep: names the scheduler.
        spent: the clock.
        slots: returns how many trials may be in flight now.
        past: trials that ended under earlier drivers, by name, with their rungs.
        to_come: tells whether further trials will begin.
    """

    # A decision counts for the rung that it was taken on.
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
        self._sweep = sweep
        self._spent = spent
        self._slots = slots
        self._to_come = to_come
        self._pauses = plugins.scheduler(sweep.schedule.name).PAUSES
        self._changes = plugins.scheduler(sweep.schedule.name).CHANGES
        self._live: dict[str, _Live] = {}
        self._awaited = set(fidelity.first_trials(sweep)) - set(past)
        """Unpruned trials that are not over."""
        self._first = {name: list(past.get(name, ())) for name in fidelity.first_trials(sweep)}
        """Rungs of the unpruned trials."""
        self._shown: list[tuple[Any, Mapping[str, Any]]] = [
            (PastTrial(name), result.to_json())
            for name, result in record.in_order(past)
            if result.score is not None
        ]
        """What the scheduler was shown, for one with another grace; kept until that is certain."""
        self._scheduler = self._made(sweep.schedule.grace)
        self._measure()

    def set_search_properties(self, metric: str | None, mode: str | None, **spec: Any) -> bool:
        """Accept what Tune says: objective and mode come from the sweep."""
        return True

    def on_trial_add(self, tune_controller: Any, trial: Any) -> None:
        """Take a trial, a new one or one that was open under an earlier driver."""
        rungs = record.latest(self._spent.folder, _name(trial))
        self._live[_name(trial)] = _Live(trial, rungs[-1].rung if rungs else 0)
        self._scheduler.on_trial_add(tune_controller, trial)

    def on_trial_result(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> str:
        """Decide on a trial after a rung; rungs on record are all replayed first."""
        rung = self._count(trial, result)
        decision = str(TrialScheduler.CONTINUE)
        is_replayed = rung.rung < self._live[_name(trial)].recorded
        if self._is_shown(rung) and not (is_replayed and self._pauses):
            self._show(trial, rung.rung, result)
            decision = self._scheduler.on_trial_result(tune_controller, trial, result)
        if is_replayed:
            return str(TrialScheduler.CONTINUE)
        if self._spent.used_up:
            return str(TrialScheduler.STOP)
        if decision == TrialScheduler.STOP and _name(trial) in self._first:
            return str(TrialScheduler.CONTINUE)
        if decision == TrialScheduler.PAUSE:
            # At once: Tune's own way of it has the trial save something first, and a trial whose
            # process dies over that would be begun again and wait for nobody.
            tune_controller.pause_trial(trial, should_checkpoint=False)
            return str(TrialScheduler.NOOP)
        return decision

    def on_trial_complete(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> None:
        """Take the end of a trial; its last rung is news unless the scheduler stopped it there."""
        rung = self._count(trial, result)
        if self._is_shown(rung) and rung.rung > self._live[_name(trial)].rung:
            self._show(trial, rung.rung, result)
            self._scheduler.on_trial_complete(tune_controller, trial, result)
        else:
            self._scheduler.on_trial_remove(tune_controller, trial)
        self._end(trial)

    def on_trial_remove(self, tune_controller: Any, trial: Any) -> None:
        """Take the end of a trial that was waiting."""
        self._scheduler.on_trial_remove(tune_controller, trial)
        self._end(trial)

    def on_trial_error(self, tune_controller: Any, trial: Any) -> None:
        """Take the end of a trial whose processes died too often."""
        self._scheduler.on_trial_error(tune_controller, trial)
        self._end(trial)

    def choose_trial_to_run(self, tune_controller: Any) -> Any:
        """Return a trial to start, or to go on with if there is a slot for it."""
        waiting = [each.trial for each in self._live.values() if each.trial.status == Trial.PAUSED]
        if self._spent.used_up:
            for trial in waiting:
                tune_controller.stop_trial(trial)
            return None
        if not self._pauses:
            # What Tune's own do, but without going through all trials that are over.
            trials = (each.trial for each in self._live.values())
            return next((trial for trial in trials if trial.status == Trial.PENDING), None)
        chosen = self._scheduler.choose_trial_to_run(tune_controller)
        if chosen in waiting and len(self._live) - len(waiting) >= self._slots():
            return None
        return chosen

    def debug_string(self) -> str:
        """Return what Tune's scheduler says of itself."""
        return str(self._scheduler.debug_string())

    def _made(self, grace: int) -> Any:
        """Return Tune's scheduler with a grace, which knows all that was shown so far."""
        schedule = self._sweep.schedule
        made = schedulers.make(
            schedule.name,
            mode=self._sweep.search.objective.mode,
            further_modes=[each.mode for each in self._sweep.search.objectives[1:]],
            epochs=self._sweep.most_epochs,
            grace=grace,
            reduction=schedule.reduction,
            options=schedule.options,
        )
        if self._changes:
            made.join(Population(self._sweep, self._spent.folder, self._to_come))
        schedulers.remember(schedule.name, made, self._shown)
        return made

    def _is_shown(self, result: RungResult) -> bool:
        """Tell whether the scheduler is shown a rung; one that changes points waits for all."""
        return result.is_rung and (self._changes or result.score is not None)

    def _count(self, trial: Any, result: Mapping[str, Any]) -> RungResult:
        name, rung = _name(trial), RungResult.from_json(result)
        self._spent.rung(name, rung)
        self._spent.keep()
        rungs = self._first.get(name)
        if rungs is not None and rung.rung > (rungs[-1].rung if rungs else 0):
            rungs.append(rung)
        return rung

    def _show(self, trial: Any, rung: int, result: Mapping[str, Any]) -> None:
        self._live[_name(trial)].rung = rung
        if self._awaited:
            self._shown.append((trial, result))

    def _end(self, trial: Any) -> None:
        self._live.pop(_name(trial), None)
        if _name(trial) in self._awaited:
            self._awaited.remove(_name(trial))
            self._measure()

    def _measure(self) -> None:
        """Once the unpruned trials are over, raise the grace if their low rungs say little."""
        if self._awaited:
            return
        schedule = self._sweep.schedule
        found = fidelity.measured([*self._first.values()], schedule, self._sweep.most_epochs)
        if found and found.grace > schedule.grace:
            self._scheduler = self._made(found.grace)
            for each in self._live.values():
                if not each.rung:  # the others were shown with their rungs
                    self._scheduler.on_trial_add(None, each.trial)
        self._shown.clear()


def _name(trial: Any) -> str:
    return trial_id(trial.config["number"])
