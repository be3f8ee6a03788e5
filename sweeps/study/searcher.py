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
from sweeps.spec.load import Sweep
from sweeps.spec.sweep import base_of
from sweeps.study.draws import Drawn, Draws
from sweeps.study.study import EXHAUSTED, FINISHED, GUARDED, SEGMENTS, add, open_study, push, tell
from sweeps.trial import (
    BESTS,
    CHANGES,
    FAILED,
    GUARD,
    VIOLATIONS,
    Point,
    Start,
    last_line,
    trial_id,
)


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

    def report(self, result: Mapping[str, Any]) -> None:
        """Keep the objective of a rung as Optuna's intermediate value, once.

        Optuna keeps none for several objectives, and a rung with a changed point says nothing of
        the point that it proposed.
        """
        value, rung = result.get("objective"), result.get("rung")
        if self.several or result.get(CHANGES):
            return
        if value is not None and rung is not None and rung not in self.rungs:
            self.rungs.add(rung)
            self.trial.report(value, rung)


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
            self._running[tune_id].report(result)

    def on_trial_complete(
        self, tune_id: str, result: dict[str, Any] | None = None, error: bool = False
    ) -> None:
        """Tell Optuna how a trial ended."""
        running = self._running.pop(tune_id, None)
        if running is None:
            return
        if result:
            running.report(result)
        changed = bool(result and result.get(CHANGES))
        for name, violation in violations(None if error or changed else result).items():
            running.trial.set_constraint(name, violation)
        if changed:
            self._tell_segments(running, result)
        if result and result.get(GUARD) and not error:
            running.trial.set_user_attr(GUARDED, result[GUARD])
        if running.several and result and result.get(BESTS):
            running.trial.set_user_attr(BESTS, result[BESTS])
        state, values = _ending(result, error)
        tell(self._study, running.trial, state, _reason(result, error), values)
        push(self._sweep, self._folder)

    def _tell_segments(self, running: _Running, result: Mapping[str, Any] | None) -> None:
        """Keep with which points a trial went on, and whether it finished with the last one."""
        own = segments.of(self._folder, trial_id(running.number))
        running.trial.set_user_attr(SEGMENTS, [asdict(segment) for segment in own])
        if result and result.get("finished"):
            running.trial.set_user_attr(FINISHED, True)

    def save(self, checkpoint_path: str) -> None:
        """Leave the empty file that Tune expects: all that there is to know is in the study."""
        Path(checkpoint_path).touch()

    def restore(self, checkpoint_path: str) -> None:
        """Do nothing: a sweep goes on from the study, not from Tune's state."""


def violations(result: Mapping[str, Any] | None) -> dict[str, float]:
    """Return by how much a trial violates each limit, by its name; 0 or less is within it.

    Tune hands nested results over flat: ``{"violations/memory": 1.0}``.
    """
    nested = (result or {}).get(VIOLATIONS) or {}
    prefix = f"{VIOLATIONS}/"
    flat = {
        name.removeprefix(prefix): value
        for name, value in (result or {}).items()
        if name.startswith(prefix)
    }
    found = {name: float(value) for name, value in {**nested, **flat}.items()}
    # TPE ranks pruned trials by how many rungs they did, before it looks at their values. So a
    # trial that collapsed at rung 4 would be better than all that the scheduler stopped at
    # rung 1. One that violates a constraint comes after them.
    return {**found, "guard": 1.0} if (result or {}).get(GUARD) else found


def _ending(result: dict[str, Any] | None, error: bool) -> tuple[TrialState, list[float] | None]:
    """Return the state and the values that Optuna is told.

    A point that does not fit in memory is PRUNED: of FAIL no sampler learns anything.
    """
    if error or not result or (result.get(FAILED) and not _violates(result)):
        return TrialState.FAIL, None
    if not result.get("finished") or result.get(CHANGES):
        return TrialState.PRUNED, None
    bests = result.get(BESTS) or [result.get("best")]
    if any(value is None or math.isnan(value) for value in bests):
        return TrialState.FAIL, None
    return TrialState.COMPLETE, bests


def _reason(result: dict[str, Any] | None, error: bool) -> str | None:
    """Return why a trial could not go on, in one line; None for one that could."""
    if error or not result:
        return "the trial's processes died"
    if result.get(FAILED):
        return last_line(result[FAILED])
    return "no rung had a score" if _ending(result, error)[0] is TrialState.FAIL else None


def _violates(result: Mapping[str, Any]) -> bool:
    return any(value > 0 for value in violations(result).values())
