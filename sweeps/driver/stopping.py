"""Trials that somebody wants to end: they end after their rung, as stopped."""

from typing import Any

from ray import tune

from sweeps.results import record
from sweeps.results.folder import SweepFolder


class StopAsked(tune.Stopper):
    """Ends each trial that has a mark in its folder, also in a driver that began after the mark."""

    def __init__(self, folder: SweepFolder) -> None:
        self._folder = folder

    def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
        """Tell whether the trial ends with this rung; rungs on record are all told first."""
        trial = result.get("trial")
        if trial is None or not self._folder.stopping(trial).exists():
            return False
        rungs = record.latest(self._folder, trial)
        return not rungs or result.get("rung", 0) >= rungs[-1]["rung"]

    def stop_all(self) -> bool:
        """Leave the end of the sweep to its driver."""
        return False
