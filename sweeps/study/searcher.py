"""The bridge between Ray Tune and Optuna: Tune gets points from it and reports results to it.

Not Tune's own OptunaSearch: that one reports to Optuna a trial that was stopped early as COMPLETE,
leaves a failed one RUNNING for ever, and cannot be restored with a persistent study.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from optuna.trial import TrialState
from ray.tune.search import Searcher

from sweeps.capacity.memory import Needs
from sweeps.results import segments
from sweeps.results.budget import Spent
from sweeps.results.folder import SweepFolder
from sweeps.rung_result import RungResult
from sweeps.spec.load import Sweep
from sweeps.spec.sweep import base_of
from sweeps.study.study import (
    ADDED,
    BESTS,
    EXHAUSTED,
    FINISHED,
    GUARDED,
    SEGMENTS,
    START,
    enqueue,
    open_study,
    push,
    tell,
)
from sweeps.study.suggester import Suggester, Suggestion
from sweeps.trial import Point, Start, last_line, trial_id


@dataclass
class _Running:
    """A trial that Tune runs."""

    suggestion: Suggestion
    rungs: set[int]
    """Rungs whose objective Optuna has."""
    last: dict[str, Any] | None = None
    """Its last result."""
    paused: bool = False
    """Whether it waits for other trials, without a slot."""


class OptunaBridge(Searcher):
    """Suggests the points of one sweep and reports to Optuna truthfully how each trial ended.

    COMPLETE only for a trial that finished by itself; PRUNED, with the value of every rung, for
    one that the scheduler, the guard or a limit stopped; FAIL for one that could not continue.
    Violations are constraints, however the trial ended. With several objectives Optuna takes no
    values of rungs, so a stopped trial has none. A trial that continued with another point is
    PRUNED with the rungs of its own point, however it ended.

    A trial is suggested while a slot is free and the budget is not used up. Tune's own limiter
    counts a paused trial as running: a scheduler whose trials wait for each other would never get
    the trials that they wait for.
    """

    def __init__(self, sweep: Sweep, folder: SweepFolder) -> None:
        super().__init__()
        self._sweep, self._folder = sweep, folder
        self._study = open_study(sweep, folder)
        self._several = len(self._study.directions) > 1
        self._suggester = Suggester(self._study, sweep)
        self._running: dict[str, _Running] = {}
        """By Tune's ids."""
        self.slots: Callable[[], float] = lambda: math.inf
        """Returns how many trials may run at a time; changes when nodes join or leave."""
        self.spent: Spent | None = None
        """What the sweep has used of its budget; None counts nothing."""
        self.poll: Callable[[], None] = lambda: None
        """Called before each point: while nothing runs, Tune calls no callback."""
        self.need: Callable[[Point], float] = lambda point: 0.0
        """Minimum of GPU memory that a point needs, in bytes, see `sweeps.capacity.memory`."""
        self.hold: str | None = None
        """Why no further trial may begin; None when one may."""
        self.exhausted = False
        """Whether every point of the space was tried before the sweep had all its trials."""

    def fit(self, need: Needs, largest: Callable[[], float]) -> None:
        """Add to each config what it needs, and reject points too big for the `largest` GPU."""
        self.need = need
        self._suggester.refuse(lambda point: need.refusal(point, largest()))

    def set_max_concurrency(self, max_concurrent: int) -> bool:
        """Turn Tune's own limiter off."""
        return True

    def set_search_properties(
        self, metric: str | None, mode: str | None, config: dict[str, Any], **spec: Any
    ) -> bool:
        """Accept Tune's metric; the space and the direction come from the sweep."""
        return not config

    def suggest(  # type: ignore[override]  # Tune's own type leaves FINISHED out
        self, tune_id: str
    ) -> dict[str, Any] | str | None:
        """Return the config of the next trial: its number, point, base, need and start.

        None while no slot is free, and while trials run but none is left to begin: one may still
        be added.
        """
        if self.spent and self.spent.used_up:
            return str(Searcher.FINISHED)
        if sum(not running.paused for running in self._running.values()) >= self.slots():
            return None
        self.poll()
        suggestion = None
        if self.more_to_come and (suggestion := self._suggester.next()) is None:
            self.exhausted = True
            self._study.set_user_attr(EXHAUSTED, True)
        if suggestion is None:
            return None if self._running else str(Searcher.FINISHED)
        self._running[tune_id] = _Running(suggestion, set(suggestion.rungs))
        push(self._sweep, self._folder)
        point, start = suggestion.point, suggestion.start
        return {
            "number": suggestion.number,
            "point": point,
            "base": base_of(self._sweep, point),
            "need": self.need(point),
            "start": asdict(start) if start else None,
        }

    @property
    def more_to_come(self) -> bool:
        """Whether further trials will begin, as far as is known now."""
        return not (self._suggester.is_over or self.hold or self.exhausted)

    @property
    def is_over(self) -> bool:
        """Whether every trial of the sweep has begun and ended."""
        return self._suggester.is_over and not self._running

    def add(self, point: Mapping[str, Any], start: Start | None) -> None:
        """Make a point the next one, of a trial beyond ``search.trials``."""
        attributes = {ADDED: True, START: asdict(start) if start else None}
        enqueue(self._study, point, again=True, attributes=attributes)
        self._suggester.add_trial()
        push(self._sweep, self._folder)

    def on_pause(self, tune_id: str) -> None:
        """Free the slot of a trial that waits for others."""
        if tune_id in self._running:
            self._running[tune_id].paused = True

    def on_unpause(self, tune_id: str) -> None:
        """Count a trial that may continue: it has a slot or waits for one."""
        if tune_id in self._running:
            self._running[tune_id].paused = False

    def on_trial_result(self, tune_id: str, result: dict[str, Any]) -> None:
        """Report the objective of a rung."""
        if running := self._running.get(tune_id):
            running.last = result
            self._report(running, RungResult.from_json(result))

    def _report(self, running: _Running, result: RungResult) -> None:
        """Report the objective of a rung as Optuna's intermediate value, once.

        Optuna takes none for several objectives, and a rung with a changed point says nothing
        about the point that it suggested.
        """
        if self._several or result.changes or result.objective is None:
            return
        if result.rung not in running.rungs:
            running.rungs.add(result.rung)
            running.suggestion.trial.report(result.objective, result.rung)

    def on_trial_complete(
        self, tune_id: str, result: dict[str, Any] | None = None, error: bool = False
    ) -> None:
        """Report how a trial ended: by Tune's `error`, or by its last `result`.

        Tune has no result of a trial that is stopped while paused.
        """
        running = self._running.pop(tune_id, None)
        if running is None:
            return
        result = result or running.last
        last, trial = RungResult.from_json(result or {}), running.suggestion.trial
        self._report(running, last)
        if error or not result:
            died = "the trial's processes died"
            last = RungResult(failed=died, changes=last.changes, bests=last.bests)
        if last.changes:
            own = segments.of(self._folder, trial_id(running.suggestion.number))
            trial.set_user_attr(SEGMENTS, [asdict(segment) for segment in own])
            if last.finished:
                trial.set_user_attr(FINISHED, True)
        else:  # what a changed point violates says nothing about the point that Optuna suggested
            for name, violation in last.violations.items():
                trial.set_constraint(name, violation)
            if last.guard:
                # TPE ranks pruned trials by the number of their rungs, before their values: one
                # that collapsed at rung 4 would be better than all that the scheduler stopped at
                # rung 1. A trial that violates a constraint ranks below them.
                trial.set_constraint(GUARDED, 1.0)
        if last.guard:
            trial.set_user_attr(GUARDED, last.guard)
        if self._several and last.bests:
            trial.set_user_attr(BESTS, list(last.bests))
        tell(self._study, trial, *_ending(last))
        push(self._sweep, self._folder)

    def save(self, checkpoint_path: str) -> None:
        """Write the empty file that Tune expects: the study has everything."""
        Path(checkpoint_path).touch()

    def restore(self, checkpoint_path: str) -> None:
        """Do nothing: a sweep resumes from the study, not from Tune's state."""


def _ending(result: RungResult) -> tuple[TrialState, str | None, list[float] | None]:
    """Return a trial's state in Optuna, in one line why it could not continue, and its values.

    A point that does not fit in memory is PRUNED: no sampler learns from FAIL.
    """
    reason = last_line(result.failed) if result.failed else None
    if reason and not any(value > 0 for value in result.violations.values()):
        return TrialState.FAIL, reason, None
    if not result.finished or result.changes:
        return TrialState.PRUNED, reason, None
    bests = list(result.bests) or [math.nan if result.best is None else result.best]
    if any(map(math.isnan, bests)):
        return TrialState.FAIL, "no rung had a score", None
    return TrialState.COMPLETE, None, bests
