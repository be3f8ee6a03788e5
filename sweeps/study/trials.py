"""The trials of a sweep as its study and their own records have them, with or without a driver."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sweeps.results import best, record, segments
from sweeps.results.folder import SweepFolder
from sweeps.results.segments import Segment
from sweeps.spec.load import Sweep
from sweeps.study.study import ended, open_study, own_trials
from sweeps.trial import trial_number, trial_title

RUNNING = "running"


@dataclass(frozen=True, kw_only=True)
class Known:
    """One trial that was given out."""

    name: str
    state: str
    """How it ended, by the study; `RUNNING` for one that nobody has ended."""
    point: Mapping[str, Any]
    """What it has now."""
    rungs: Sequence[Mapping[str, Any]]
    """Its record."""
    told: Mapping[int, float] | None
    """Rung -> objective, as the study has it; None where it keeps none (several objectives)."""
    best: best.Best | None
    """Of the adapter on disk."""
    segments: Sequence[Segment] = ()
    """Of a trial that was given other points in its course."""
    drawn: Mapping[str, Any] | None = None
    """The point that the sampler gave such a trial."""

    @property
    def title(self) -> str:
        """Return what a person calls it."""
        return trial_title(trial_number(self.name), self.point)

    def point_at(self, rung: float) -> Mapping[str, Any]:
        """Return the point with which it trained a rung."""
        return segments.point_at(self.segments, self.drawn or self.point, rung)

    @property
    def runs(self) -> bool:
        """Whether nobody has ended it."""
        return self.state == RUNNING


def known(sweep: Sweep, folder: SweepFolder) -> dict[str, Known]:
    """Return the trials by name, in the order of their numbers; none where no study is yet."""
    if sweep.search.storage is None and not folder.study.exists():
        return {}
    study = open_study(sweep, folder)
    over, changed = ended(study), segments.every(folder)
    own = {name: [one for one in changed if one.trial == name] for name in own_trials(study)}
    return {
        name: Known(
            name=name,
            state=over[name][0] if name in over else RUNNING,
            point=segments.point_at(own[name], frozen.params),
            rungs=record.read(folder, name),
            told=None if len(study.directions) > 1 else frozen.intermediate_values,
            best=best.read(folder.best_adapter(name)),
            segments=own[name],
            drawn=frozen.params,
        )
        for name, frozen in own_trials(study).items()
    }
