"""The budget of a sweep, and what it has used over all its drivers."""

import json
import time
from collections.abc import Callable, Iterable

from sweeps.results import record
from sweeps.results.folder import SweepFolder
from sweeps.rung_result import RungResult
from sweeps.spec.sweep import Budget

_HOUR = 3600.0  # seconds


class Spent:
    """The clock of one driver, which continues where that of the driver before it stopped.

    Wall time is on disk after each rung: a driver that is killed loses what came after its last.
    """

    def __init__(
        self,
        folder: SweepFolder,
        budget: Budget,
        trials: Iterable[str],
        now: Callable[[], float] = time.monotonic,
        gpus_per_host: float = 1.0,
    ) -> None:
        """Start the clock.

        Args:
            folder: of the sweep.
            budget: what the sweep may use.
            trials: those that earlier drivers began, with their records.
            now: seconds of a clock.
            gpus_per_host: the share of a GPU that a rung uses.
        """
        self.folder, self.budget, self.now = folder, budget, now
        self.gpus_per_host = gpus_per_host
        written = folder.clock.read_text() if folder.clock.exists() else '{"seconds": 0}'
        self._before, self._started = float(json.loads(written)["seconds"]), now()
        self._rungs: dict[tuple[str, int], float] = {}
        """Seconds by trial and rung: one that is reported again after a resume counts once."""
        self._total = 0.0
        for trial in trials:
            for result in record.read(folder, trial):
                self.rung(trial, result)

    def rung(self, trial: str, result: RungResult) -> None:
        """Count a rung, and keep the time."""
        if result.is_rung:
            key = (trial, result.rung)
            self._total += result.seconds - self._rungs.get(key, 0.0)
            self._rungs[key] = result.seconds

    def keep(self) -> None:
        """Write the wall time to disk."""
        self.folder.write(self.folder.clock, json.dumps({"seconds": self.seconds}))

    @property
    def seconds(self) -> float:
        """Wall time of this driver and those before it."""
        return self._before + self.now() - self._started

    @property
    def hours(self) -> float:
        """The same in hours."""
        return self.seconds / _HOUR

    @property
    def gpu_hours(self) -> float:
        """GPU hours of all rungs on record: trials take turns on their host's share of a GPU."""
        return self._total * self.gpus_per_host / _HOUR

    @property
    def used_up(self) -> bool:
        """Whether there is a budget and nothing is left of it."""
        return any(used >= limit for used, limit, _ in self._limits())

    def __str__(self) -> str:
        """Return what is used, such as ``0.4 of 2 h``; nothing without a budget."""
        return ", ".join(f"{used:.3g} of {limit:g} {unit}" for used, limit, unit in self._limits())

    def _limits(self) -> list[tuple[float, float, str]]:
        used = {"h": self.hours, "GPU h": self.gpu_hours}
        return [(used[unit], limit, unit) for limit, unit in _limits(self.budget)]


def described(budget: Budget) -> str:
    """Return a budget in words; nothing where there is none."""
    return ", ".join(f"{limit:g} {unit}" for limit, unit in _limits(budget))


def _limits(budget: Budget) -> list[tuple[float, str]]:
    every = ((budget.hours, "h"), (budget.gpu_hours, "GPU h"))
    return [(limit, unit) for limit, unit in every if limit is not None]
