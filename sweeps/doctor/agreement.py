"""Differences between the study, the records on disk and MLflow: pure values, once read."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from math import isclose

from search_spaces.issues import Issue
from sweeps.doctor.check import error
from sweeps.study.trials import RUNNING, TrialState

_CLOSE = 1e-6  # MLflow and JSON keep doubles; a server may round
RESUME = "sweeps resume {sweep} reports it again from the records"


@dataclass(frozen=True, kw_only=True)
class Tracked:
    """A trial's run in MLflow."""

    state: str
    rungs: Sequence[int]
    """Steps at which a rung is stored, as often as it is."""
    best: float | None
    """Objective of the best rung."""
    segments: Sequence[int] = ()
    """Rungs after which runs of segments begin."""


@dataclass(frozen=True, kw_only=True)
class OnDisk:
    """The contents of the sweep's folder."""

    folders: frozenset[str] = frozenset()
    """Trials that have one."""
    adapters: frozenset[str] = frozenset()
    """Trials whose best adapter is complete."""
    snapshots: Mapping[str, Sequence[int]] = field(default_factory=dict)
    kept: frozenset[str] = frozenset()
    """Trials whose adapters should be there, see `sweeps.results.retention`."""
    driven: bool = False
    """Whether a driver runs."""
    waiting: Mapping[str, int] = field(default_factory=dict)
    """Record -> lines that MLflow has not acknowledged yet, see `sweeps.tracking.sources`."""
    stale_driver: str | None = None
    """A dead driver that left its file."""


def differences(
    trials: Mapping[str, TrialState],
    runs: Mapping[str, Sequence[Tracked]],
    disk: OnDisk,
    sweep_id: str,
) -> list[Issue]:
    """Return all differences, by trial and of the sweep; none for a consistent sweep."""
    resume = RESUME.format(sweep=sweep_id)
    found = []
    for name in sorted((set(runs) | disk.folders) - set(trials)):
        sources = [("MLflow", runs), ("the folder", disk.folders)]
        places = " and ".join(place for place, names in sources if name in names)
        fix = "the study was replaced or cut: bring study.log back from a copy, or delete the run"
        found.append(error(f"is in {places}, but not in the study", fix).below(name))
    for trial in trials.values():
        issues = _trial(trial, runs.get(trial.name, ()), disk, resume)
        found += (issue.below(trial.name) for issue in issues)
    for name, count in disk.waiting.items():
        late = error(f"{count} entries wait for MLflow", f"sweeps sync {sweep_id}")
        found.append(late.below(name))
    if disk.stale_driver:
        died = error(f"its driver died: {disk.stale_driver}", f"sweeps resume {sweep_id}")
        found.append(died.below(sweep_id))
    return sorted(found, key=lambda issue: issue.path)


def _trial(
    trial: TrialState, runs: Sequence[Tracked], disk: OnDisk, resume: str
) -> Iterator[Issue]:
    is_published = trial.name not in disk.waiting
    if not runs and trial.rungs and is_published:
        yield error("has no run in MLflow", resume)
    if len(runs) > 1:
        yield error(f"has {len(runs)} runs in MLflow", "delete all but the one with most rungs")
    for run in runs[: 1 if is_published else 0]:
        yield from _against_mlflow(trial, run, disk, resume)
    yield from _record(trial, disk, resume)
    yield from _files(trial, disk, resume)


def _against_mlflow(trial: TrialState, run: Tracked, disk: OnDisk, resume: str) -> Iterator[Issue]:
    running = (RUNNING, "interrupted")
    if run.state != trial.state and not (trial.is_open and run.state in running):
        what = f"is {trial.state} in the study and {run.state} in MLflow"
        yield error(what, resume)
    if trial.is_open and run.state == RUNNING and not disk.driven:
        yield error("runs in MLflow, but the sweep has no driver", resume)
    recorded = [one.rung for one in trial.rungs]
    counted = Counter(run.rungs)
    for rung, times in sorted(counted.items()):
        if times > 1:
            fix = "nothing: a chart shows it twice, the leaderboard counts it once"
            yield error(f"rung {rung} is {times} times in MLflow", fix)
    missing = sorted(set(recorded) - set(counted))
    if missing and not disk.driven:
        yield error(f"rungs {_listed(missing)} are not in MLflow", resume)
    beyond = sorted(set(counted) - set(recorded) - {0})
    if beyond and not disk.driven:
        yield error(f"rungs {_listed(beyond)} are in MLflow only", resume)
    begun = [one.rung for one in trial.segments if one.rung < max(recorded, default=0)]
    lost = sorted(set(begun) - set(run.segments))
    if lost and not disk.driven:
        what = f"its segments from rungs {_listed(lost)} on have no run in MLflow"
        yield error(what, resume if trial.is_open else "none: the trial is over")
    best = trial.adapter.value if trial.adapter else None
    if best is not None and run.best is not None and not isclose(best, run.best, rel_tol=_CLOSE):
        what = f"its best value is {best:g} on disk and {run.best:g} in MLflow"
        yield error(what, resume)


def _record(trial: TrialState, disk: OnDisk, resume: str) -> Iterator[Issue]:
    """Compare the study with the record; a running driver is a moment behind."""
    counted = Counter(one.rung for one in trial.rungs)
    twice = sorted(rung for rung, times in counted.items() if times > 1)
    if twice:
        what = f"rungs {_listed(twice)} are twice on record"
        yield error(what, "remove the later line of rungs.jsonl")
    reported = set(counted) if trial.reported is None else set(trial.reported)
    # Rungs with a changed point say nothing of the one that the study knows.
    own = {one.rung for one in trial.rungs if not one.changes}
    unreported = sorted(own - reported)
    scored = {one.rung for one in trial.rungs if one.objective is not None}
    if scored & set(unreported) and not disk.driven and not trial.is_open:
        what = f"rungs {_listed(unreported)} are on record, not in the study"
        yield error(what, "none: the trial is over")
    unknown = sorted(reported - set(counted))
    if unknown and not disk.driven:
        fix = resume if trial.is_open else "bring rungs.jsonl back from a copy"
        yield error(f"rungs {_listed(unknown)} are in the study only", fix)


def _files(trial: TrialState, disk: OnDisk, resume: str) -> Iterator[Issue]:
    if trial.name in disk.kept and trial.name not in disk.adapters:
        fix = "bring its folder `best` back from a copy"
        yield error("its best adapter is missing or not whole", fix)
    left = disk.snapshots.get(trial.name, ())
    if left and not trial.is_open:
        yield error(f"has ended, but its snapshots {_listed(left)} are there", resume)


def _listed(rungs: Sequence[int]) -> str:
    return ", ".join(map(str, rungs))
