"""What a sweep has cost: hours, epochs, and how its trials ended."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from sweeps.board.leaderboard import Leaderboard
from sweeps.results.budget import Spent
from sweeps.results.folder import SweepFolder
from sweeps.spec.sweep import Budget

_GPU = "measured/peak_memory_gb"
"""Reported by hosts with a GPU and no others."""


@dataclass(frozen=True, kw_only=True)
class Cost:
    """What a sweep has cost so far, over all its drivers."""

    hours: float
    """Wall time."""
    rung_hours: float
    """Time of all rungs; a host takes one at a time. On GPUs times the share of one that a host
    has."""
    gpu: bool
    """Whether the hosts held GPUs, so that `rung_hours` are GPU hours."""
    epochs: int
    """Rungs that were trained, over all trials."""
    states: Mapping[str, int]
    """How trials ended -> how many."""

    @property
    def lines(self) -> dict[str, str]:
        """The same in words."""
        ended = ", ".join(f"{count} {state}" for state, count in self.states.items())
        return {
            "wall time": duration(self.hours),
            "GPU time" if self.gpu else "time of all rungs": duration(self.rung_hours),
            "epochs": str(self.epochs),
            "trials": f"{sum(self.states.values())}: {ended}" if ended else "none",
        }


def read(folder: SweepFolder, board: Leaderboard, gpus_per_host: float) -> Cost:
    """Return the cost from the clock and the trials' records."""
    rungs = [rung for trial in board.trials for rung in trial.rungs]
    gpu = any(_GPU in rung.metrics for rung in rungs)
    share = gpus_per_host if gpu else 1.0
    trials = [trial.name for trial in board.trials]
    spent = Spent(folder, Budget(), trials, gpus_per_host=share)
    return Cost(
        hours=spent.hours,
        rung_hours=spent.gpu_hours,
        gpu=gpu,
        epochs=sum(rung.rung > 0 for rung in rungs),
        states=Counter(trial.state for trial in board.trials),
    )


def duration(hours: float) -> str:
    """Return hours as people read them: ``3.2 h``, ``14 min`` or ``42 s``."""
    if hours >= 1:
        return f"{hours:.1f} h"
    minutes = hours * 60
    return f"{minutes:.0f} min" if minutes >= 2 else f"{minutes * 60:.0f} s"
