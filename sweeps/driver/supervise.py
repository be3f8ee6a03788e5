"""Supervision of a running sweep: requests from outside, and the disk."""

import signal
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

from ray import tune

from sweeps.board.handle import SweepHandle
from sweeps.driver.progress import Progress
from sweeps.results import retention
from sweeps.rung_result import RungResult
from sweeps.study.searcher import OptunaBridge
from sweeps.trial import trial_id

MEASURE_SECONDS = 10.0
"""A folder on a network takes a moment to measure."""


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
        self._tidy(trial)

    def on_trial_error(self, iteration: int, trials: Sequence[Any], trial: Any, **_: Any) -> None:
        """Do the same for a trial whose processes died too often."""
        self._tidy(trial)

    def _tidy(self, trial: Any) -> None:
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


def interrupt() -> None:
    """Stop the sweep as Ctrl-C does, where there is a main thread to stop."""
    if threading.current_thread() is threading.main_thread():
        signal.raise_signal(signal.SIGINT)
