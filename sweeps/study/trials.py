"""The trials of a sweep as its study and their records have them, with or without a driver."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

from sweeps.results import best, lease, segments
from sweeps.results.best import Best
from sweeps.results.folder import SweepFolder
from sweeps.results.record import read
from sweeps.results.segments import Segment
from sweeps.rung_result import RungResult
from sweeps.spec.load import Sweep
from sweeps.study.study import endings, open_study, own_trials
from sweeps.trial import Point, trial_number, trial_title
from workers.measures import PREFIX

RUNNING, INTERRUPTED = "running", "interrupted"
"""States of trials that have not ended: with a driver, or without one."""


@dataclass(frozen=True, kw_only=True)
class TrialState:
    """A trial: its point, its rungs, and how it ended."""

    name: str
    point: Point
    """The current one."""
    state: str = RUNNING
    """How it ended, or whether a driver runs it."""
    reason: str | None = None
    """Why it failed, or why the guard stopped it."""
    rungs: Sequence[RungResult] = ()
    """Its record."""
    reported: Mapping[int, float] | None = None
    """Rung -> objective, as the study has it; None for several objectives: it keeps none."""
    adapter: Best | None = None
    """Rung and scores of the adapter on disk."""
    segments: Sequence[Segment] = ()
    """Of a trial that continued with other points."""
    sampled: Point | None = None
    """The point that the sampler suggested for such a trial."""
    lineage: str = ""
    """The donors of its weights, such as ``lr0.003 <- trial-002@4``; empty for its own."""

    @property
    def title(self) -> str:
        """A short name with the point, see `sweeps.trial.trial_title`."""
        return trial_title(trial_number(self.name), self.point)

    @property
    def is_open(self) -> bool:
        """Whether it has not ended."""
        return self.state in (RUNNING, INTERRUPTED)

    @property
    def rung(self) -> int:
        """Number of its last rung; 0 before the first."""
        return self._last.rung

    @property
    def objective(self) -> float | None:
        """The leading objective at the last rung."""
        return self._last.objective

    @property
    def score(self) -> float | None:
        """The leading objective at the best rung; None while there is none."""
        value = self._last.best
        return None if value is None or math.isnan(value) else value

    @property
    def values(self) -> tuple[float, ...]:
        """All objectives at the best rung, the leading one first; empty if one is missing."""
        every = self._last.bests or (() if self.score is None else (self.score,))
        return () if any(map(math.isnan, every)) else every

    @property
    def best_rung(self) -> int | None:
        """Number of the best rung."""
        return self._best.rung if self._best else None

    @property
    def best(self) -> Mapping[str, float]:
        """Scores and measures of the best rung, such as ``cider``; empty while there is none."""
        return {
            key.removeprefix(prefix): value
            for key, value in (self._best.metrics if self._best else {}).items()
            for prefix in ("val/", PREFIX)
            if key.startswith(prefix)
        }

    @property
    def symptoms(self) -> str:
        """Symptoms of the last rung, in words."""
        return "; ".join(self._last.symptoms)

    @property
    def violates(self) -> str | None:
        """Limits of the search that it violates, in words: it cannot win."""
        return self._last.violates

    @property
    def guard(self) -> str | None:
        """Why the guard stopped it."""
        return self.reason if self.state == "failed-by-guard" else None

    def point_at(self, rung: float) -> Point:
        """Return the point with which it trained a rung."""
        return segments.point_at(self.segments, self.sampled or self.point, rung)

    def after(self, result: RungResult) -> "TrialState":
        """Return the trial after a result of its host: a rung, new or known, or a failure."""
        if result.failed:
            return replace(self, reason=result.failed)
        earlier = [rung for rung in self.rungs if rung.rung < result.rung]
        return replace(self, rungs=(*earlier, result), reason=None)

    @property
    def _last(self) -> RungResult:
        return self.rungs[-1] if self.rungs else RungResult()

    @cached_property
    def _best(self) -> Best | None:
        """The best rung; the record has it even when its adapter was removed."""
        if self.score is None:
            return None
        for rung in self.rungs:
            if rung.objective == rung.best == self.score:
                return Best(value=self.score, rung=rung.rung, metrics=rung.metrics)
        return self.adapter


def trial_states(
    sweep: Sweep, folder: SweepFolder, *, driven: bool | None = None
) -> dict[str, TrialState]:
    """Return the trials by name, in the order of their numbers; none without a study.

    `driven`: whether the sweep has a driver; None looks at its lease.
    """
    if sweep.search.storage is None and not folder.study.exists():
        return {}
    if driven is None:
        driven = lease.living(folder) is not None
    study = open_study(sweep, folder)
    over, changed, states = endings(study), segments.every(folder), {}
    for name, frozen in own_trials(study).items():
        state, reason = over.get(name, (RUNNING if driven else INTERRUPTED, None))
        own = [segment for segment in changed if segment.trial == name]
        states[name] = TrialState(
            name=name,
            point=segments.point_at(own, frozen.params),
            state=state,
            reason=reason,
            rungs=read(folder, name),
            reported=None if len(study.directions) > 1 else frozen.intermediate_values,
            adapter=best.read(folder.best_adapter(name)),
            segments=own,
            sampled=frozen.params,
            lineage=segments.lineage(changed, name),
        )
    return states
