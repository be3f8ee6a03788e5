"""Replays a search on the recorded table, event by event as Tune would, but without training."""

from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from ray.tune.schedulers import TrialScheduler

from benchmarks.recorded import Curve, Table


class Searcher(Protocol):
    """What a replay needs of Tune's `Searcher`."""

    def suggest(self, trial_id: str) -> Mapping[str, Any] | None:
        """Return the point of a new trial."""

    def on_trial_result(self, trial_id: str, result: dict[str, Any]) -> None:
        """Hear of a rung after which the trial goes on."""

    def on_trial_complete(self, trial_id: str, result: dict[str, Any]) -> None:
        """Hear of the last rung of a trial."""


@dataclass
class _Trial:
    """A running trial, as far as a scheduler looks at it."""

    trial_id: str
    curve: Curve
    losses: Curve
    rung: int = 0

    def advance(self) -> dict[str, Any]:
        """Return the result of the next rung."""
        self.rung += 1
        return {
            "rung": self.rung,
            "training_iteration": self.rung,
            "objective": self.curve[self.rung - 1],
            "loss": self.losses[self.rung - 1],
            "best": max(self.curve[: self.rung]),
            "finished": self.rung == len(self.curve),
        }


def replay(searcher: Searcher, scheduler: Any, table: Table, slots: int) -> Iterator[float]:
    """Yield the best score of a finished trial after each epoch spent, 0 as long as none has.

    Trials take turns on the slots, one epoch each. The search goes on for as long as asked.
    """
    running: deque[_Trial] = deque()
    best, started = 0.0, 0
    while True:
        while len(running) < slots:
            running.append(_start(f"t{started:04d}", searcher, scheduler, table))
            started += 1
        trial = running.popleft()
        result = trial.advance()
        if _goes_on(trial, result, searcher, scheduler):
            running.append(trial)
        elif result["finished"]:
            best = max(best, result["best"])
        yield best


def _start(name: str, searcher: Searcher, scheduler: Any, table: Table) -> _Trial:
    point = searcher.suggest(name)
    assert point is not None, "the searcher has no more points"
    key = table.key(point)
    trial = _Trial(name, table.curves[key], table.losses[key])
    scheduler.on_trial_add(None, trial)
    return trial


def _goes_on(trial: _Trial, result: dict[str, Any], searcher: Searcher, scheduler: Any) -> bool:
    """Tell scheduler and searcher of a rung, in the order in which Tune does."""
    if not result["finished"]:
        decision = scheduler.on_trial_result(None, trial, result)
        if decision == TrialScheduler.CONTINUE:
            searcher.on_trial_result(trial.trial_id, result)
            return True
    scheduler.on_trial_complete(None, trial, result)
    searcher.on_trial_complete(trial.trial_id, result)
    return False
