"""The bridge between Ray Tune and Optuna: Tune asks it for points and tells it results.

Not Tune's own OptunaSearch: that one tells Optuna that a trial stopped early is COMPLETE,
leaves a failed one RUNNING for ever, and cannot be restored with a persistent study.
"""

import math
from pathlib import Path
from typing import Any

import optuna
from optuna.trial import TrialState
from ray.tune.search import Searcher

from sweeps.context import FAILED, GUARD, trial_id
from sweeps.fleet import Fleet
from sweeps.paths import SweepFolder
from sweeps.spec import Sweep
from sweeps.study import ask, open_study, unfinished


class OptunaBridge(Searcher):
    """Proposes the points of one sweep and tells Optuna truthfully how each trial ended.

    COMPLETE only when the trial says that it finished; PRUNED, with the value of every rung,
    when the scheduler stopped it, or the guard; FAIL when it could not go on.
    """

    def __init__(self, sweep: Sweep, folder: SweepFolder, fleet: Fleet) -> None:
        super().__init__()
        self._sweep = sweep
        self._folder = folder
        self._fleet = fleet
        self._study = open_study(sweep, folder)
        self._unfinished = unfinished(self._study)
        """Trials that an earlier driver left running; they go on first."""
        self._numbers: dict[str, int] = {}
        """Tune's id of a trial -> Optuna's number of it."""

    def set_search_properties(
        self, metric: str | None, mode: str | None, config: dict[str, Any], **spec: Any
    ) -> bool:
        """Accept Tune's metric; the space and the direction come from the sweep."""
        return not config

    def suggest(self, tune_id: str) -> dict[str, Any] | None:
        """Return the config of the next trial: its number, its point and its host."""
        again = self._unfinished.pop(0) if self._unfinished else None
        trial, point = ask(self._study, self._sweep, again)
        trial.set_user_attr("trial", trial_id(trial.number))
        self._numbers[tune_id] = trial.number
        return {
            "number": trial.number,
            "point": point,
            "host": self._fleet.place(trial.number),
        }

    def on_trial_result(self, tune_id: str, result: dict[str, Any]) -> None:
        """Keep the objective of a rung as Optuna's intermediate value."""
        self._report(tune_id, result)

    def on_trial_complete(
        self, tune_id: str, result: dict[str, Any] | None = None, error: bool = False
    ) -> None:
        """Tell Optuna how a trial ended."""
        if tune_id not in self._numbers:
            return
        number = self._numbers.pop(tune_id)
        self._fleet.release(number)
        if result:
            self._report_number(number, result)
        if result and result.get(GUARD) and not error:
            self._mark_guarded(number, result[GUARD])
        state, value = _ending(result, error)
        self._study.tell(number, value, state=state, skip_if_finished=True)

    def save(self, checkpoint_path: str) -> None:
        """Leave the empty file that Tune expects: all that there is to know is in the study."""
        Path(checkpoint_path).touch()

    def restore(self, checkpoint_path: str) -> None:
        """Do nothing: a sweep goes on from the study, not from Tune's state."""

    def _report(self, tune_id: str, result: dict[str, Any]) -> None:
        if tune_id in self._numbers:
            self._report_number(self._numbers[tune_id], result)

    def _report_number(self, number: int, result: dict[str, Any]) -> None:
        value, rung = result.get("objective"), result.get("rung")
        frozen = self._study.get_trials(deepcopy=False)[number]
        if value is None or rung is None or frozen.state.is_finished():
            return
        if rung not in frozen.intermediate_values:
            storage_id = frozen._trial_id
            optuna.Trial(self._study, storage_id).report(value, rung)

    def _mark_guarded(self, number: int, reason: str) -> None:
        """Say that the trial's point is one that must not be, besides that it was PRUNED.

        TPE ranks pruned trials by how many rungs they did, before it looks at their values. So
        a trial that collapsed at rung 4 would be better than all that the scheduler stopped at
        rung 1. One that violates a constraint comes after them.
        """
        frozen = self._study.get_trials(deepcopy=False)[number]
        if not frozen.state.is_finished() and not frozen.constraints:
            trial = optuna.Trial(self._study, frozen._trial_id)
            trial.set_user_attr("guard", reason)
            trial.set_constraint("guard", 1.0)


def _ending(result: dict[str, Any] | None, error: bool) -> tuple[TrialState, float | None]:
    """Return the state and the value that Optuna is told."""
    if error or not result or result.get(FAILED):
        return TrialState.FAIL, None
    if not result.get("finished"):
        return TrialState.PRUNED, None
    best = result.get("best")
    if best is None or math.isnan(best):
        return TrialState.FAIL, None
    return TrialState.COMPLETE, best
