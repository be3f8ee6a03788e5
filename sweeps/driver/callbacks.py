"""Tune's callbacks and stopper of a running sweep."""

import time
from collections.abc import Callable, Sequence
from typing import Any

from ray import tune

from sweeps.board.handle import SweepHandle
from sweeps.driver.live import View
from sweeps.driver.progress import Progress
from sweeps.driver.signals import interrupt
from sweeps.results import record, retention, segments
from sweeps.results.folder import SweepFolder
from sweeps.rung_result import RungResult
from sweeps.study.searcher import OptunaBridge
from sweeps.study.trials import TrialState
from sweeps.trial import ACKNOWLEDGED, Ending, trial_id
from workers.redaction import redact

MEASURE_SECONDS = 10.0
"""A folder on a network takes a moment to measure."""


class Follow(tune.Callback):
    """Keeps progress and tracking true to what Tune does."""

    def __init__(self, handle: SweepHandle, progress: Progress, view: View) -> None:
        self._run, self._folder = handle.run, handle.folder
        self._progress, self._view = progress, view

    def on_trial_start(self, iteration: int, trials: Sequence[Any], trial: Any, **_: Any) -> None:
        """A trial begins, or resumes after its host died."""
        self._view.changed(self._start(trial))

    def on_trial_result(
        self, iteration: int, trials: Sequence[Any], trial: Any, result: dict[str, Any], **_: Any
    ) -> None:
        """A rung ended."""
        rung = RungResult.from_json(result)
        self._view.changed(self._progress.result(trial.config["number"], rung))

    def on_trial_complete(
        self, iteration: int, trials: Sequence[Any], trial: Any, **_: Any
    ) -> None:
        """A trial finished, was stopped by scheduler or guard, or cannot go on."""
        result = RungResult.from_json(trial.last_result or {})
        if result.failed:
            self._end(trial, "failed", result.failed)
        elif result.guard:
            self._end(trial, "failed-by-guard", result.guard)
        else:
            self._end(trial, "completed" if result.finished else "stopped")

    def on_trial_error(self, iteration: int, trials: Sequence[Any], trial: Any, **_: Any) -> None:
        """A trial's processes died more often than it is retried."""
        error = trial.get_error()
        self._end(trial, "failed", redact(str(error)) if error else "the trial's process died")

    def _start(self, trial: Any) -> TrialState:
        """Take the start of a trial, with its current point."""
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


class KeepAcknowledged(tune.Callback):
    """Keeps the last acknowledged rung in the trial's config: the last one that Tune has got.

    A process reads the config when it takes a trial up: the first one, one after its death, one
    after the trial waited for others. It reports the rungs on record after that one to Tune. The
    driver keeps it because only there it is certain: a process that returned a rung may die before
    Tune has got it, or right after. Tune would have each process save it at each rung, a
    checkpoint of its own for one number.
    """

    def on_trial_result(
        self, iteration: int, trials: Sequence[Any], trial: Any, result: dict[str, Any], **_: Any
    ) -> None:
        """Take a rung; a trial that cannot go on has none."""
        rung = RungResult.from_json(result)
        if rung.is_rung:
            trial.set_config({**trial.config, ACKNOWLEDGED: rung.rung})


class StopRequested(tune.Stopper):
    """Ends each trial that has a mark in its folder, also in a driver that began after the mark."""

    def __init__(self, folder: SweepFolder) -> None:
        self._folder = folder

    def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
        """Tell whether the trial ends with this rung; rungs on record are all reported first."""
        trial = result.get("trial")
        if trial is None or not self._folder.stopping(trial).exists():
            return False
        rungs = record.latest(self._folder, trial)
        return not rungs or RungResult.from_json(result).rung >= rungs[-1].rung

    def stop_all(self) -> bool:
        """Leave the end of the sweep to its driver."""
        return False


class Supervise(tune.Callback):
    """Polls for requests, prunes the disk, and stops the sweep when the disk is full.

    Args:
        poll: looks for requests and carries them out; decides itself how often.
        say: prints a line for the person who watches the driver.
    """

    def __init__(
        self,
        handle: SweepHandle,
        progress: Progress,
        bridge: OptunaBridge,
        poll: Callable[[], None],
        say: Callable[[str], None],
    ) -> None:
        self._sweep, self._folder, self._progress = handle.sweep, handle.folder, progress
        self._bridge = bridge
        self._poll, self._say = poll, say
        self._measured = float("-inf")
        self._full = False

    def on_step_begin(self, iteration: int, trials: Sequence[Any], **_: Any) -> None:
        """Poll, and measure the disk now and then."""
        self._poll()
        if self._sweep.disk.limit_gb and time.monotonic() - self._measured > MEASURE_SECONDS:
            self._measured = time.monotonic()
            self._enforce()

    def on_trial_result(
        self, iteration: int, trials: Sequence[Any], trial: Any, result: dict[str, Any], **_: Any
    ) -> None:
        """Stop the sweep as Ctrl-C does when a rung could not be written."""
        full = RungResult.from_json(result).disk_full
        if full and not self._full:
            self._full = True
            self._say(full)
            interrupt()

    def on_trial_complete(
        self, iteration: int, trials: Sequence[Any], trial: Any, **_: Any
    ) -> None:
        """Remove the files of the trial, and of others, that are no longer needed."""
        self._prune(trial)

    def on_trial_error(self, iteration: int, trials: Sequence[Any], trial: Any, **_: Any) -> None:
        """Do the same for a trial whose processes died too often."""
        self._prune(trial)

    def _prune(self, trial: Any) -> None:
        name = trial_id(trial.config["number"])
        self._folder.remove(self._folder.stopping(name))
        if trial.config.get("start"):
            self._folder.remove(self._folder.start(trial.config["start"]["folder"]))
        self._folder.refresh_trials()
        retention.prune(self._sweep, self._folder, self._over() | {name})
        self._measured = float("-inf")

    def _enforce(self) -> None:
        hold = retention.enforce_limit(self._sweep, self._folder, self._over())
        if hold and not self._bridge.hold:
            self._say(hold)
        self._bridge.hold = hold

    def _over(self) -> frozenset[str]:
        trials = self._progress.trials.values()
        return frozenset(trial.name for trial in trials if not trial.is_open)
