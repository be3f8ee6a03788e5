"""What a sweep may use, and what it has used over all its drivers."""

import json
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from sweeps.results import record
from sweeps.results.folder import SweepFolder
from sweeps.rung_result import RungResult
from sweeps.spec.sweep import Budget

_HOUR = 3600.0  # seconds


@dataclass(kw_only=True)
class Spent:
    """The clock of one driver, which goes on where that of the driver before it stood still.

    Wall time is on disk after each rung: a driver that is killed loses what came after its last.
    """

    folder: SweepFolder
    budget: Budget
    now: Callable[[], float] = time.monotonic
    """Seconds of a clock."""
    gpus_per_host: float = 1.0
    """Share of a GPU that a rung takes up."""
    _before: float = 0.0
    _started: float = 0.0
    _rungs: dict[tuple[str, int], float] = field(default_factory=dict)
    """Seconds by trial and rung: one that is told again after a resume counts once."""
    _total: float = 0.0

    @classmethod
    def open(
        cls,
        folder: SweepFolder,
        budget: Budget,
        trials: Iterable[str],
        now: Callable[[], float] = time.monotonic,
        gpus_per_host: float = 1.0,
    ) -> "Spent":
        """Start the clock; `trials` are those that earlier drivers began, with their records."""
        spent = cls(folder=folder, budget=budget, now=now, gpus_per_host=gpus_per_host)
        spent._before, spent._started = _written(folder), now()
        for trial in trials:
            for result in record.read(folder, trial):
                spent.rung(trial, result)
        return spent

    def rung(self, trial: str, result: RungResult) -> None:
        """Count a rung, and keep the time."""
        if result.is_rung:
            key = (trial, result.rung)
            self._total += result.seconds - self._rungs.get(key, 0.0)
            self._rungs[key] = result.seconds

    def keep(self) -> None:
        """Write the wall time down."""
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
        """Say what is used, such as ``0.4 of 2 h``; nothing without a budget."""
        return ", ".join(f"{used:.3g} of {limit:g} {unit}" for used, limit, unit in self._limits())

    def _limits(self) -> list[tuple[float, float, str]]:
        every = (
            (self.hours, self.budget.hours, "h"),
            (self.gpu_hours, self.budget.gpu_hours, "GPU h"),
        )
        return [(used, limit, unit) for used, limit, unit in every if limit is not None]


def described(budget: Budget) -> str:
    """Return a budget in words; nothing where there is none."""
    limits = ((budget.hours, "h"), (budget.gpu_hours, "GPU h"))
    return ", ".join(f"{limit:g} {unit}" for limit, unit in limits if limit is not None)


def _written(folder: SweepFolder) -> float:
    try:
        return float(json.loads(folder.clock.read_text())["seconds"])
    except FileNotFoundError:
        return 0.0
