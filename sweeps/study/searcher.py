"""The bridge between Ray Tune and Optuna: Tune asks it for points and tells it results.

Not Tune's own OptunaSearch: that one tells Optuna that a trial stopped early is COMPLETE,
leaves a failed one RUNNING for ever, and cannot be restored with a persistent study.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from optuna.trial import Trial, TrialState
from ray.tune.search import Searcher

from sweeps.capacity.memory import Needs
from sweeps.results import segments
from sweeps.results.folder import SweepFolder
from sweeps.rung_result import RungResult
from sweeps.spec.load import Sweep
from sweeps.spec.sweep import base_of
from sweeps.study.draws import Drawn, Draws
from sweeps.study.study import (
    BESTS,
    EXHAUSTED,
    FINISHED,
    GUARDED,
    SEGMENTS,
    add,
    open_study,
    push,
    tell,
)
from sweeps.trial import Point, Start, last_line, trial_id


@dataclass(kw_only=True)
class _Running:
    """A trial that Tune runs."""

    number: int
    trial: Trial
    several: bool
    """Whether the study has several objectives."""
    rungs: set[int] = field(default_factory=set)
    """Rungs whose objective Optuna has."""

    @classmethod
    def of(cls, drawn: Drawn) -> "_Running":
        several = len(drawn.trial.study.directions) > 1
        return cls(number=drawn.number, trial=drawn.trial, several=several, rungs=set(drawn.rungs))

    def report(self, result: RungResult) -> None:
        """Keep the objective of a rung as Optuna's intermediate value, once.

        Optuna keeps none for several objectives, and a rung with a changed point says nothing of
        the point that it proposed.
        """
        if self.several or result.changes or result.objective is None:
            return
        if result.rung not in self.rungs:
            self.rungs.add(result.rung)
            self.trial.report(result.objective, result.rung)


class OptunaBridge(Searcher):
    """Proposes the points of one sweep and tells Optuna truthfully how each trial ended.

    COMPLETE only when the trial says that it finished; PRUNED, with the value of every rung,
    when the scheduler, the guard or a limit stopped it; FAIL when it could not go on. What a
    trial violates is told as constraints, whichever way it ended. With several objectives Optuna
    takes no values of rungs: a trial that was stopped has none there. A trial that went on with
    another point is PRUNED with the rungs that it did with its own, however it ended.
    """

    def __init__(self, sweep: Sweep, folder: SweepFolder) -> None:
        super().__init__()
        self._sweep, self._folder = sweep, folder
        self._study = open_study(sweep, folder)
        self._draws = Draws(self._study, sweep)
        self._running: dict[str, _Running] = {}
        """By Tune's ids."""
        self.poll: Callable[[], None] = lambda: None
        """Is called before each point: while nothing runs, Tune calls no callback."""
        self.need: Callable[[Point], float] = lambda point: 0.0
        """Bytes of a GPU that a trial needs at least, see `sweeps.capacity.memory`."""
        self.hold: str | None = None
        """Why no further trial may begin; None when one may."""
        self.exhausted = False
        """Whether every point of the space was tried before the sweep had all its trials."""

    def fit(self, need: Needs, largest: Callable[[], float]) -> None:
        """Tell trials what they need, and draw no points that do not fit on the `largest` GPU."""
        self.need = need
        self._draws.refuse(lambda point: need.refusal(point, largest()))

    def set_search_properties(
        self, metric: str | None, mode: str | None, config: dict[str, Any], **spec: Any
    ) -> bool:
        """Accept Tune's metric; the space and the direction come from the sweep."""
        return not config

    def suggest(  # type: ignore[override]  # Tune's own type leaves FINISHED out
        self, tune_id: str
    ) -> dict[str, Any] | str | None:
        """Return the config of the next trial: its number, point, base, need and start.

        None while no trial is left to begin but some run: one more may be asked for meanwhile.
        """
        self.poll()
        if not self.more_to_come:
            return self._nothing_more()
        drawn = self._draws.next()
        if drawn is None:
            self.exhausted = True
            self._study.set_user_attr(EXHAUSTED, True)
            return self._nothing_more()
        self._running[tune_id] = _Running.of(drawn)
        push(self._sweep, self._folder)
        start, need = asdict(drawn.start) if drawn.start else None, self.need(drawn.point)
        base, point = base_of(self._sweep, drawn.point), drawn.point
        return {"number": drawn.number, "point": point, "base": base, "need": need, "start": start}

    @property
    def more_to_come(self) -> bool:
        """Whether further trials will begin, as far as can be seen now."""
        return not (self._draws.is_over or self.hold or self.exhausted)

    @property
    def is_over(self) -> bool:
        """Whether every trial that the sweep is to run has begun and ended."""
        return self._draws.is_over and not self._running

    def add(self, point: Mapping[str, Any], start: Start | None) -> None:
        """Let one more trial be the next to begin."""
        add(self._study, point, start)
        self._draws.one_more()
        push(self._sweep, self._folder)

    def _nothing_more(self) -> str | None:
        return None if self._running else str(Searcher.FINISHED)

    def on_trial_result(self, tune_id: str, result: dict[str, Any]) -> None:
        """Keep the objective of a rung."""
        if tune_id in self._running:
            self._running[tune_id].report(RungResult.from_json(result))

    def on_trial_complete(
        self, tune_id: str, result: dict[str, Any] | None = None, error: bool = False
    ) -> None:
        """Report to Optuna how a trial ended: by Tune's `error`, or by its last `result`."""
        running = self._running.pop(tune_id, None)
        if running is None:
            return
        last, trial = RungResult.from_json(result or {}), running.trial
        running.report(last)
        if error or not result:
            died = "the trial's processes died"
            last = RungResult(failed=died, changes=last.changes, bests=last.bests)
        for name, violation in violations(last).items():
            trial.set_constraint(name, violation)
        if last.changes:
            own = segments.of(self._folder, trial_id(running.number))
            trial.set_user_attr(SEGMENTS, [asdict(segment) for segment in own])
            if last.finished:
                trial.set_user_attr(FINISHED, True)
        if last.guard:
            trial.set_user_attr(GUARDED, last.guard)
        if running.several and last.bests:
            trial.set_user_attr(BESTS, list(last.bests))
        tell(self._study, trial, *_ending(last))
        push(self._sweep, self._folder)

    def save(self, checkpoint_path: str) -> None:
        """Leave the empty file that Tune expects: all that there is to know is in the study."""
        Path(checkpoint_path).touch()

    def restore(self, checkpoint_path: str) -> None:
        """Do nothing: a sweep goes on from the study, not from Tune's state."""


def violations(result: RungResult) -> dict[str, float]:
    """Return by how much a trial violates each limit, by its name; 0 or less is within it.

    None for a trial whose point was changed: they say nothing of the point that Optuna proposed.
    """
    if result.changes:
        return {}
    # TPE ranks pruned trials by how many rungs they did, before it looks at their values. So a
    # trial that collapsed at rung 4 would be better than all that the scheduler stopped at
    # rung 1. One that violates a constraint comes after them.
    return {**result.violations, "guard": 1.0} if result.guard else dict(result.violations)


def _ending(result: RungResult) -> tuple[TrialState, str | None, list[float] | None]:
    """Return a trial's state in Optuna, in one line why it could not go on, and its values.

    A point that does not fit in memory is PRUNED: of FAIL no sampler learns anything.
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
