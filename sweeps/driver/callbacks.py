"""Tune's events, passed on: to the progress and the screen, and to the trials' runs in MLflow."""

from collections.abc import Sequence
from typing import Any

from ray import tune

from sweeps.driver.live import View
from sweeps.driver.progress import Progress
from sweeps.results import segments
from sweeps.results.folder import SweepFolder
from sweeps.study.trials import TrialState
from sweeps.tracking.sweep_run import SweepRun
from sweeps.trial import FAILED, GUARD, Ending, trial_id
from workers.redaction import redact


class Follow(tune.Callback):
    """Keeps progress and tracking true to what Tune does."""

    def __init__(self, progress: Progress, view: View, run: SweepRun, folder: SweepFolder) -> None:
        self._progress = progress
        self._view = view
        self._run = run
        self._folder = folder

    def on_trial_start(self, iteration: int, trials: Sequence[Any], trial: Any, **_: Any) -> None:
        """A trial begins, or goes on after its host died."""
        self._view.changed(self._start(trial))

    def on_trial_result(
        self, iteration: int, trials: Sequence[Any], trial: Any, result: dict[str, Any], **_: Any
    ) -> None:
        """A rung ended."""
        self._view.changed(self._progress.result(trial.config["number"], result))

    def on_trial_complete(
        self, iteration: int, trials: Sequence[Any], trial: Any, **_: Any
    ) -> None:
        """A trial finished, was stopped by scheduler or guard, or said that it cannot go on."""
        result = trial.last_result or {}
        if result.get(FAILED):
            self._end(trial, "failed", result[FAILED])
        elif result.get(GUARD):
            self._end(trial, "failed-by-guard", result[GUARD])
        else:
            self._end(trial, "completed" if result.get("finished") else "stopped")

    def on_trial_error(self, iteration: int, trials: Sequence[Any], trial: Any, **_: Any) -> None:
        """A trial's processes died more often than it is retried."""
        error = trial.get_error()
        self._end(trial, "failed", redact(str(error)) if error else "the trial's process died")

    def _start(self, trial: Any) -> TrialState:
        """Take the start of a trial, with the point that it goes on with."""
        number = trial.config["number"]
        own = segments.of(self._folder, trial_id(number))
        return self._progress.start(number, segments.point_at(own, trial.config["point"]))

    def _end(self, trial: Any, state: Ending, reason: str | None = None) -> None:
        number = trial.config["number"]
        self._start(trial)
        self._run.close_trial(trial_id(number), state, reason)
        self._view.changed(self._progress.end(number, state, reason))
        for snapshot in self._folder.glob(f"trials/{trial_id(number)}/rung-*"):
            self._folder.remove(snapshot)
