"""What the driver knows about its trials while they run: plain values for the screen."""

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from sweeps.pareto import costs, fronts
from sweeps.results.budget import Spent
from sweeps.results.folder import SweepFolder
from sweeps.spec.load import Sweep
from sweeps.spec.objectives import Objective
from sweeps.study.trials import Known
from sweeps.trial import BESTS, FAILED, SYMPTOMS, VIOLATES, trial_number, trial_title

STATES = ("running", "completed", "stopped", "failed", "failed-by-guard", "interrupted")


@dataclass(kw_only=True)
class Row:
    """One trial."""

    title: str
    number: int
    state: str = "running"
    rung: int = 0
    objective: float | None = None
    """Of the last rung."""
    best: float | None = None
    bests: tuple[float, ...] = ()
    """All objectives at the best rung; empty while there is none."""
    symptoms: str = ""
    """What is wrong with the last rung, in words."""
    violates: str | None = None
    """Which limits of the search the trial violates, in words: it cannot win."""
    error: str | None = None
    """Why the trial failed, by itself or by the guard."""


@dataclass(kw_only=True)
class Board:
    """All trials of a sweep, in the order of their start."""

    sweep_id: str
    objective: str
    mode: str
    trials: int
    """Trials that the sweep is to run."""
    epochs: int
    spent: Spent | None = None
    """The clock of a sweep that may have a budget."""
    paused: bool = False
    """No further rung begins."""
    further: tuple[Objective, ...] = ()
    """The objectives after the first."""
    started: float = field(default_factory=time.monotonic)
    rows: dict[int, Row] = field(default_factory=dict)
    _recovered: set[int] = field(default_factory=set)

    def start(self, number: int, point: Mapping[str, Any]) -> Row:
        """Add a trial, or set one running that is retried, or goes on with another point."""
        row = self.rows.setdefault(number, Row(title="", number=number))
        row.title, row.state = trial_title(number, point), "running"
        self._recovered.discard(number)
        return row

    def recover(
        self,
        number: int,
        title: str,
        state: str,
        rung: int,
        best: float | None,
        *,
        bests: tuple[float, ...] = (),
        violates: str | None = None,
    ) -> None:
        """Add a trial that ended before the sweep was resumed."""
        self.rows[number] = Row(
            title=title, number=number, state=state, rung=rung, best=best,
            bests=bests, violates=violates,
        )  # fmt: skip
        self._recovered.add(number)

    def result(self, number: int, result: Mapping[str, Any]) -> Row:
        """Take the result of a rung."""
        row = self.rows[number]
        row.rung = result.get("rung", row.rung)
        row.objective = result.get("objective", row.objective)
        row.best = result.get("best", row.best)
        row.bests = tuple(result.get(BESTS) or row.bests)
        row.symptoms = "; ".join(result.get(SYMPTOMS, ()))
        row.violates = result.get(VIOLATES)
        row.error = result.get(FAILED)
        return row

    def end(self, number: int, state: str, error: str | None = None) -> Row:
        """Take the end of a trial."""
        row = self.rows[number]
        row.state, row.error = state, error or row.error
        return row

    @property
    def ended(self) -> int:
        """Trials that are over."""
        return sum(row.state != "running" for row in self.rows.values())

    @property
    def interrupted(self) -> bool:
        """Somebody stopped the sweep before its last trial, or its budget, ended."""
        due = len(self.rows) if self.spent and self.spent.used_up else self.trials
        return self.ended < due

    @property
    def best(self) -> Row | None:
        """The best trial so far of those that violate no limit."""
        scored = [row for row in self.rows.values() if row.best is not None and not row.violates]
        sign = 1.0 if self.mode == "max" else -1.0
        return max(scored, key=lambda row: sign * float(row.best or 0.0), default=None)

    @property
    def on_front(self) -> int | None:
        """Trials that no other dominates so far; None for a single objective."""
        found = [row.bests for row in self.rows.values() if row.bests and not row.violates]
        if not self.further:
            return None
        modes = (self.mode, *(objective.mode for objective in self.further))
        return len(fronts(costs(found, modes))[0]) if found else 0

    @property
    def trials_per_minute(self) -> float | None:
        """Ended trials per minute since the first one began; None before the first end."""
        minutes = (time.monotonic() - self.started) / 60.0
        ended = self.ended - len(self._recovered)
        return ended / minutes if ended else None

    @property
    def minutes_left(self) -> float | None:
        """What is left at the pace so far."""
        pace = self.trials_per_minute
        return (self.trials - self.ended) / pace if pace else None


def board_of(sweep: Sweep, folder: SweepFolder, trials: Mapping[str, Known], wanted: int) -> Board:
    """Return what a driver would show of the sweep now."""
    objective = sweep.search.objective
    board = Board(
        sweep_id=folder.sweep_id, objective=objective.metric, mode=objective.mode,
        trials=wanted, epochs=sweep.most_epochs, further=sweep.search.objectives[1:],
    )  # fmt: skip
    for trial in trials.values():
        last = trial.rungs[-1] if trial.rungs else {}
        number = trial_number(trial.name)
        board.recover(
            number, trial.title, trial.state, last.get("rung", 0), last.get("best"),
            bests=tuple(last.get(BESTS) or ()), violates=last.get(VIOLATES),
        )  # fmt: skip
        board.rows[number].objective = last.get("objective")
    return board
