"""The folder of a sweep: every path of its results, and how files there are read and written."""

import re
from dataclasses import dataclass
from pathlib import Path

from sweeps import names
from sweeps.storage import claims, copies, places
from workers.files.atomic import atomic_write

_HEAVY = re.compile(
    r"(.*/)?((rung|donated)-\d+|tune|probes|starts)(/.*)?|(.*/)?best/(?!best\.json|captions\.json).*"
)
"""Paths of a sweep, or of its trials, that are downloaded when they are needed, or not at all."""


class _Below:
    """A path below the folder of a sweep."""

    def __init__(self, path: str) -> None:
        self._path = path

    def __get__(self, folder: "SweepFolder", owner: type) -> Path:
        return folder.path / self._path


@dataclass(frozen=True, kw_only=True)
class SweepFolder:
    """``<root>/<sweep id>/``: the resolved file, the study, Tune's state, adapters."""

    root: Path
    """Absolute folder of all sweeps (``sweep-results``): on a cluster shared by all nodes, or this
    process's working copy of an object store, see `sweeps.storage.places`."""
    sweep_id: str

    spec = _Below("sweep.yaml")
    """The sweep file with every default written out."""
    driver = _Below("driver.json")
    """The lease of the sweep's driver, see `sweeps.results.lease`."""
    control = _Below("control")
    """Requests to the driver, see `sweeps.results.inbox`."""
    paused = _Below("control/paused")
    """Is there while the sweep is paused."""
    probes = _Below("probes")
    """Files by which nodes show that they reach this folder, see `sweeps.fleet.probe`."""
    study = _Below("study.log")
    """Optuna's journal file."""
    tune = _Below("tune")
    """Ray Tune's own files; nothing is read back from them."""
    clock = _Below("clock.json")
    """The wall time that the sweep's drivers have used."""
    events = _Below("events.jsonl")
    """The sweep's own record, which its driver writes, see `sweeps.results.record`."""
    scored_images = _Below("keepsakes")
    """Small copies of scored images and the base's captions, see `sweeps.results.pictures`."""
    population = _Below("population.jsonl")
    """The record of a population, see `sweeps.results.segments`."""

    def __post_init__(self) -> None:
        names.component(self.sweep_id)

    @classmethod
    def create(cls, root: Path, name: str) -> "SweepFolder":
        """Make the folder of the next sweep called `name`: ``<name>-1``, ``<name>-2``, ...

        Raises ValueError for an address such as ``s3://bucket``, which would become a folder here.
        """
        if re.match(r"[a-z0-9]+:/", str(root)):
            raise ValueError(
                f"results must be a folder, got {root}: an address is for "
                "`sweeps.storage.places.working` to make one of"
            )
        root = root.absolute()
        root.mkdir(parents=True, exist_ok=True)
        taken = [_number(folder, name) for folder in claims.names(root)]
        number = max(taken, default=0)
        while True:
            number += 1
            folder = cls(root=root, sweep_id=f"{name}-{number}")
            try:
                folder.path.mkdir()
            except FileExistsError:  # another sweep of the same name was faster
                continue
            if claims.try_claim(folder.path):
                return folder

    @classmethod
    def newest(cls, root: Path, name: str) -> "SweepFolder | None":
        """Return the folder of the last sweep called `name`, or None when there is none."""
        own = [folder for folder in cls.every(root) if _number(folder.sweep_id, name)]
        newest = max(own, key=lambda folder: _number(folder.sweep_id, name), default=None)
        if newest:
            newest.refresh()
        return newest

    @classmethod
    def every(cls, root: Path) -> "list[SweepFolder]":
        """Return the folders of all sweeps by name, of which only the sweep file may be here."""
        root = root.absolute()
        claims.fetch_sweep_files(root)
        found = sorted(path.parent.name for path in root.glob("*/sweep.yaml"))
        return [cls(root=root, sweep_id=name) for name in found]

    @classmethod
    def find(cls, root: Path, sweep_id: str) -> "SweepFolder":
        """Return the folder of an earlier sweep, with all that is small in it.

        Raises FileNotFoundError, naming the sweeps that are there, and ValueError for a path.
        """
        folder = cls(root=root.absolute(), sweep_id=sweep_id)
        folder.refresh()
        if not folder.is_there:
            there = ", ".join(other.sweep_id for other in cls.every(root))
            known = f"there are {there}" if there else "there is none yet"
            raise FileNotFoundError(f"no sweep {sweep_id!r} in {places.shown(root)}; {known}")
        return folder

    def refresh(self) -> None:
        """Download what others wrote, except for weights, which come when they are needed."""
        copies.refresh(self.path, lambda path: not _HEAVY.fullmatch(path))

    def refresh_trials(self) -> None:
        """Download what hosts have written of the trials, except for weights."""
        copies.refresh(self.path / "trials", lambda path: not _HEAVY.fullmatch(path))

    def write(self, file: Path, content: str | bytes) -> None:
        """Write a file of the sweep whole or not at all, and send it to where results live."""
        file.parent.mkdir(parents=True, exist_ok=True)
        atomic_write(file, content)
        copies.push(file)

    def read(self, file: Path) -> str | None:
        """Return the text of a file of the sweep where results live; None where there is none."""
        copies.pull(file)
        try:
            return file.read_text(encoding="utf-8")
        except FileNotFoundError:
            return None

    def push(self, path: Path) -> None:
        """Send a file or folder, written here by others than `write`, to where results live."""
        copies.push(path)

    def pull(self, path: Path) -> None:
        """Bring a file or folder to this machine as it is where results live; or remove it here."""
        copies.pull(path)

    def remove(self, path: Path) -> None:
        """Remove a file or folder here and where results live, if it is there."""
        copies.drop(path)

    def holds(self, path: Path) -> bool:
        """Tell whether a file, or a whole folder, is there where results live."""
        return copies.holds(path)

    def glob(self, pattern: str) -> list[Path]:
        """Return the paths that match where results live, such as ``trials/*/rung-*``; sorted."""
        return copies.glob(self.path, pattern)

    @property
    def is_there(self) -> bool:
        """Whether there is such a sweep."""
        return self.spec.is_file()

    @property
    def path(self) -> Path:
        """The folder itself."""
        return self.root / self.sweep_id

    def earlier_spec(self, number: int) -> Path:
        """The sweep file as it was before the `number`-th change, from 1."""
        return self.path / f"sweep.{number}.yaml"

    def acknowledged(self, name: str) -> Path:
        """How far MLflow has a record, see `sweeps.tracking.sources`."""
        return self.path / "acknowledged" / names.component(f"{name}.json")

    def trial(self, trial: str) -> Path:
        """Everything of one trial."""
        return self.path / "trials" / names.component(trial)

    def trials(self) -> list[str]:
        """The names of the trials that have a record: a host has opened them."""
        return sorted(path.parent.name for path in self.path.glob("trials/*/rungs.jsonl"))

    def record(self, trial: str) -> Path:
        """The record of a trial, see `sweeps.results.record`."""
        return self.trial(trial) / "rungs.jsonl"

    def artifact(self, trial: str, path: str) -> Path:
        """A file that MLflow shows of the trial, by its path among the artifacts of the run."""
        return self.trial(trial) / "artifacts" / path

    def opening(self, trial: str) -> Path:
        """The fencing token of the host that trains the trial: one that lost it has another."""
        return self.trial(trial) / "opening"

    def stopping(self, trial: str) -> Path:
        """Is there when the trial is to end after its rung."""
        return self.trial(trial) / "stop"

    def start(self, name: str) -> Path:
        """A copy of the state of a trial, from which another trial begins."""
        return self.control / "starts" / names.component(name)

    def snapshot(self, trial: str, rung: int) -> Path:
        """The state of a trial at the end of a rung."""
        return self.trial(trial) / f"rung-{rung:03d}"

    def donated(self, trial: str, rung: int) -> Path:
        """A copy of another trial's snapshot that is to become the trial's own."""
        return self.trial(trial) / f"donated-{rung:03d}"

    def best_adapter(self, trial: str) -> Path:
        """The adapter of the trial's best rung, as plain peft loads it."""
        return self.trial(trial) / "best"


def _number(folder: str, name: str) -> int:
    match = re.fullmatch(re.escape(name) + r"-(\d+)", folder)
    return int(match[1]) if match else 0
