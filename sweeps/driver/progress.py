"""The progress of a running sweep, kept by its driver."""

import time
from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from sweeps.board.leaderboard import Leaderboard
from sweeps.results.budget import Spent
from sweeps.results.folder import SweepFolder
from sweeps.rung_result import RungResult
from sweeps.spec.load import Sweep
from sweeps.spec.objectives import Objective
from sweeps.study.study import planned_trials
from sweeps.study.trials import RUNNING, TrialState
from sweeps.trial import Point, trial_id


@dataclass(kw_only=True)
class Progress:
    """All trials of a sweep, in the order of their start."""

    sweep_id: str
    objectives: tuple[Objective, ...]
    """The leading one first."""
    wanted: int
    """Trials that the sweep is to run."""
    epochs: int
    trials: dict[str, TrialState] = field(default_factory=dict)
    spent: Spent | None = None
    """The clock of a sweep that may have a budget."""
    paused: bool = False
    """No further rung begins."""
    started: float = field(default_factory=time.monotonic)
    recovered: set[str] = field(default_factory=set)
    """Trials of earlier drivers: they do not count for the pace."""

    @classmethod
    def of(cls, sweep: Sweep, folder: SweepFolder, spent: Spent | None = None) -> "Progress":
        """Return the progress of a sweep before its first trial."""
        return cls(
            sweep_id=folder.sweep_id, objectives=sweep.search.objectives,
            wanted=planned_trials(sweep, folder), epochs=sweep.most_epochs, spent=spent,
        )  # fmt: skip

    def start(self, number: int, point: Point) -> TrialState:
        """Add a trial, or set one running that is retried, or resumes with another point."""
        name = trial_id(number)
        known = self.trials.get(name) or TrialState(name=name, point=point)
        self.recovered.discard(name)
        return self._keep(replace(known, point=point, state=RUNNING))

    def recover(self, trials: Iterable[TrialState]) -> None:
        """Add trials of earlier drivers, which ended before the sweep was resumed."""
        for trial in trials:
            self.recovered.add(self._keep(trial).name)

    def result(self, number: int, result: RungResult) -> TrialState:
        """Take the result of a rung."""
        return self._keep(self.trials[trial_id(number)].after(result))

    def end(self, number: int, state: str, reason: str | None = None) -> TrialState:
        """Take the end of a trial."""
        trial = self.trials[trial_id(number)]
        return self._keep(replace(trial, state=state, reason=reason or trial.reason))

    def _keep(self, trial: TrialState) -> TrialState:
        self.trials[trial.name] = trial
        return trial

    @property
    def leaderboard(self) -> Leaderboard:
        """The trials so far, ranked."""
        return Leaderboard.of(self.sweep_id, self.objectives, self.trials.values())

    @property
    def ended(self) -> int:
        """Number of trials that have ended."""
        return sum(not trial.is_open for trial in self.trials.values())

    @property
    def interrupted(self) -> bool:
        """Whether the sweep stopped before its last trial, or its budget, ended."""
        due = len(self.trials) if self.spent and self.spent.used_up else self.wanted
        return self.ended < due

    @property
    def trials_per_minute(self) -> float | None:
        """Ended trials per minute since the first one began; None before the first end."""
        minutes = (time.monotonic() - self.started) / 60.0
        ended = self.ended - len(self.recovered)
        return ended / minutes if ended > 0 else None

    @property
    def minutes_left(self) -> float | None:
        """Minutes left at the pace so far."""
        pace = self.trials_per_minute
        return (self.wanted - self.ended) / pace if pace else None
