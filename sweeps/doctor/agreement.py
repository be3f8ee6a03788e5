"""Whether study, records on disk and MLflow say the same of a sweep. Pure, once read."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from sweeps.study.trials import RUNNING, Known
from sweeps.trial import CHANGES

_CLOSE = 1e-6  # MLflow and JSON keep doubles; a server may round
RESUME = "sweeps resume {sweep} tells it again from the records"


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
    """What the sweep's folder holds."""

    folders: frozenset[str] = frozenset()
    """Trials that have one."""
    adapters: frozenset[str] = frozenset()
    """Trials whose best adapter is whole."""
    snapshots: Mapping[str, Sequence[int]] = field(default_factory=dict)
    kept: frozenset[str] = frozenset()
    """Trials whose adapters should be there, see `sweeps.results.retention`."""
    driven: bool = False
    """A driver lives."""
    waiting: Mapping[str, int] = field(default_factory=dict)
    """Record -> lines that MLflow has not acknowledged yet, see `sweeps.tracking.pending`."""
    stale_driver: str | None = None
    """A dead driver that left its file."""


@dataclass(frozen=True)
class Difference:
    """Something that study, records and MLflow do not agree on."""

    where: str
    """A trial, or the sweep."""
    what: str
    mend: str


def differences(
    trials: Mapping[str, Known], runs: Mapping[str, Sequence[Tracked]], disk: OnDisk, sweep_id: str
) -> list[Difference]:
    """Return all differences, in the order of the trials; none for a sweep in good order."""
    resume = RESUME.format(sweep=sweep_id)
    found = list(_strangers(trials, runs, disk, sweep_id))
    for trial in trials.values():
        found += _trial(trial, runs.get(trial.name, ()), disk, resume)
    for name, count in disk.waiting.items():
        found.append(
            Difference(name, f"{count} entries wait for MLflow", f"sweeps sync {sweep_id}")
        )
    if disk.stale_driver:
        found.append(Difference(sweep_id, f"its driver died: {disk.stale_driver}",
                                f"sweeps resume {sweep_id}"))  # fmt: skip
    return sorted(found, key=lambda difference: difference.where)


def _strangers(
    trials: Mapping[str, Known], runs: Mapping[str, Sequence[Tracked]], disk: OnDisk, sweep_id: str
) -> Iterator[Difference]:
    for name in sorted((set(runs) | disk.folders) - set(trials)):
        places = [place for place, there in (("MLflow", runs), ("the folder", disk.folders))
                  if name in there]  # fmt: skip
        yield Difference(
            name, f"is in {' and '.join(places)}, but not in the study",
            "the study was replaced or cut: bring study.log back from a copy, or delete the run",
        )  # fmt: skip


def _trial(
    trial: Known, runs: Sequence[Tracked], disk: OnDisk, resume: str
) -> Iterator[Difference]:
    told = trial.name not in disk.waiting
    if not runs and trial.rungs and told:
        yield Difference(trial.name, "has no run in MLflow", resume)
    if len(runs) > 1:
        yield Difference(trial.name, f"has {len(runs)} runs in MLflow",
                         "delete all but the one with most rungs")  # fmt: skip
    for run in runs[: 1 if told else 0]:
        yield from _against_mlflow(trial, run, disk, resume)
    yield from _record(trial, disk, resume)
    yield from _files(trial, disk, resume)


def _against_mlflow(trial: Known, run: Tracked, disk: OnDisk, resume: str) -> Iterator[Difference]:
    running = (RUNNING, "interrupted")
    if run.state != trial.state and not (trial.runs and run.state in running):
        what = f"is {trial.state} in the study and {run.state} in MLflow"
        yield Difference(trial.name, what, resume)
    if trial.runs and run.state == RUNNING and not disk.driven:
        yield Difference(trial.name, "runs in MLflow, but the sweep has no driver", resume)
    recorded = [int(rung["rung"]) for rung in trial.rungs]
    counted = Counter(run.rungs)
    for rung, times in sorted(counted.items()):
        if times > 1:
            mend = "nothing: a chart shows it twice, the leaderboard counts it once"
            yield Difference(trial.name, f"rung {rung} is {times} times in MLflow", mend)
    missing = sorted(set(recorded) - set(counted))
    if missing and not disk.driven:
        yield Difference(trial.name, f"rungs {_listed(missing)} are not in MLflow", resume)
    beyond = sorted(set(counted) - set(recorded) - {0})
    if beyond and not disk.driven:
        yield Difference(trial.name, f"rungs {_listed(beyond)} are in MLflow only", resume)
    begun = [one.rung for one in trial.segments if one.rung < max(recorded, default=0)]
    lost = sorted(set(begun) - set(run.segments))
    if lost and not disk.driven:
        what = f"its segments from rungs {_listed(lost)} on have no run in MLflow"
        yield Difference(trial.name, what, resume if trial.runs else "none: the trial is over")
    told = trial.best.value if trial.best else None
    if None not in (told, run.best) and not _close(float(told or 0), float(run.best or 0)):
        what = f"its best value is {told:g} on disk and {run.best:g} in MLflow"
        yield Difference(trial.name, what, resume)


def _record(trial: Known, disk: OnDisk, resume: str) -> Iterator[Difference]:
    """Compare the study with the record; a driver that lives is a moment behind."""
    counted = Counter(int(rung["rung"]) for rung in trial.rungs)
    twice = sorted(rung for rung, times in counted.items() if times > 1)
    if twice:
        yield Difference(trial.name, f"rungs {_listed(twice)} are twice on record",
                         "remove the later line of rungs.jsonl")  # fmt: skip
    told = set(counted) if trial.told is None else set(trial.told)
    # Rungs with a changed point say nothing of the one that the study knows.
    own = {int(rung["rung"]) for rung in trial.rungs if not rung.get(CHANGES)}
    untold = sorted(own - told)
    scored = {int(rung["rung"]) for rung in trial.rungs if rung.get("objective") is not None}
    if scored & set(untold) and not disk.driven and not trial.runs:
        yield Difference(trial.name, f"rungs {_listed(untold)} are on record, not in the study",
                         "none: the trial is over")  # fmt: skip
    unknown = sorted(told - set(counted))
    if unknown and not disk.driven:
        mend = resume if trial.runs else "bring rungs.jsonl back from a copy"
        yield Difference(trial.name, f"rungs {_listed(unknown)} are in the study only", mend)


def _files(trial: Known, disk: OnDisk, resume: str) -> Iterator[Difference]:
    if trial.name in disk.kept and trial.name not in disk.adapters:
        yield Difference(trial.name, "its best adapter is missing or not whole",
                         "bring its folder `best` back from a copy")  # fmt: skip
    left = disk.snapshots.get(trial.name, ())
    if left and not trial.runs:
        yield Difference(trial.name, f"has ended, but its snapshots {_listed(left)} are there",
                         resume)  # fmt: skip


def _listed(rungs: Sequence[int]) -> str:
    return ", ".join(map(str, rungs))


def _close(one: float, other: float) -> bool:
    return one == other or abs(one - other) <= _CLOSE * max(abs(one), abs(other))
