"""The records that MLflow is to show, and how far it has acknowledged each of them.

A sweep that was run when hosts reported to MLflow themselves may have left a spool: ``spool/`` and
each folder of ``spools/`` hold a folder per run, called like its trial, ``trial-007.2`` for the
segment that begins after rung 2, or ``sweep``. In it are ``entries.jsonl``, of which ``sent.json``
says how many bytes were sent, and ``refused.jsonl``. Nothing is written there any more; what is
left is published once, and then removed.
"""

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from sweeps.results import record
from sweeps.results.folder import SweepFolder
from sweeps.results.record import Line
from sweeps.storage import copies
from workers.files.atomic import atomic_write

SWEEP = "sweep"
"""Name of the sweep's own record; the others have the names of their trials."""

_QUOTED = 3  # refusals whose reasons are in the message


@dataclass
class Position:
    """How far a record is acknowledged by MLflow."""

    bytes: int
    """All lines that begin before this byte are stored or refused."""
    refused: dict[int, str] = field(default_factory=dict)
    """Why MLflow did not take lines, by the bytes at which they begin."""


@dataclass(frozen=True, kw_only=True)
class Source:
    """A record that MLflow is to show."""

    name: str
    """A trial, or `SWEEP`."""
    file: Path
    acknowledged: Path
    """Where the position is kept."""
    limit: int | None = None
    """Lines that end after this byte are left to the next look; None leaves none."""

    def size(self) -> int:
        """Return the bytes of the record, up to the limit; raises FileNotFoundError."""
        size = self.file.stat().st_size
        return size if self.limit is None else min(size, self.limit)

    def lines(self) -> list[Line]:
        """Return the lines of the record, up to the limit."""
        lines = record.lines(self.file)
        return lines if self.limit is None else [one for one in lines if one.end <= self.limit]

    def position(self, lines: Sequence[Line]) -> Position:
        """Return how far `lines` are acknowledged."""
        try:
            kept = json.loads(self.acknowledged.read_text())
        except FileNotFoundError:
            return Position(self.first(lines))
        return Position(kept["bytes"], {int(at): why for at, why in kept["refused"].items()})

    def first(self, lines: Sequence[Line]) -> int:
        """Return where lines begin that are to be published when none is acknowledged yet."""
        is_old = self.name != SWEEP and bool(lines) and not record.openings(lines)
        return lines[-1].end if is_old else 0  # hosts of format 1 wrote to MLflow themselves

    def keep(self, position: Position) -> None:
        """Write the acknowledged position."""
        self.acknowledged.parent.mkdir(parents=True, exist_ok=True)
        atomic_write(self.acknowledged, json.dumps(asdict(position)))
        copies.push(self.acknowledged)


@dataclass(frozen=True, kw_only=True)
class OldSource(Source):
    """Entries of an old spool, or those of them that were refused."""

    box: str
    """Name of the folder of the run."""

    def lines(self) -> list[Line]:
        """Return the entries."""
        return [
            Line(start, end, values.get("entry", values))
            for start, end, values in record.json_lines(self.file)
        ]

    def first(self, lines: Sequence[Line]) -> int:
        """Return where the entries begin that are not sent."""
        sent = self.file.with_name("sent.json")
        if self.file.name != "entries.jsonl" or not sent.exists():
            return 0
        return int(json.loads(sent.read_text())["bytes"])

    def remove(self) -> None:
        """Remove what is stored; in this order, for what is published twice is stored once."""
        for file in (self.file.with_name("sent.json"), self.file, self.acknowledged):
            copies.drop(file)


def sources(folder: SweepFolder) -> list[Source]:
    """Return the records of a sweep in the order in which they are published.

    Its own comes last: it has the ends of trials, and that all is stored. It counts as it is before
    the trials are listed, so that the lines before a trial's end are published before that end.
    """
    try:
        limit = folder.events.stat().st_size
    except FileNotFoundError:
        limit = 0
    trials = [
        Source(name=trial, file=folder.record(trial), acknowledged=folder.acknowledged(trial))
        for trial in folder.trials()
    ]
    acknowledged = folder.acknowledged(SWEEP)
    own = Source(name=SWEEP, file=folder.events, acknowledged=acknowledged, limit=limit)
    return [*_old_sources(folder), *trials, own]


def _old_sources(folder: SweepFolder) -> Iterator[OldSource]:
    for spool in [*sorted(folder.path.glob("spools/*")), folder.path / "spool"]:
        for box in sorted(spool.glob("*"), key=lambda box: (box.name == SWEEP, box.name)):
            for file in (box / "refused.jsonl", box / "entries.jsonl"):
                if file.exists():
                    kept = folder.acknowledged(f"{spool.name}.{box.name}.{file.stem}")
                    name = box.name.partition(".")[0]
                    yield OldSource(name=name, file=file, acknowledged=kept, box=box.name)


@dataclass(frozen=True, kw_only=True)
class Waiting:
    """The lines of a sweep that MLflow lacks, by record: a trial's name, or ``sweep``."""

    sweep_id: str
    entries: Mapping[str, int]
    """How many lines wait."""
    refused: Mapping[str, Sequence[str]]
    """Why MLflow did not take others."""

    @property
    def count(self) -> int:
        """How many lines wait in all."""
        return sum(self.entries.values())

    def lines(self) -> list[str]:
        """Return messages of what waits and what was refused; none where MLflow has all."""
        found, sync = [], f"sweeps sync {self.sweep_id}"
        if self.count:
            plural = "entry waits" if self.count == 1 else "entries wait"
            found.append(f"{self.count} {plural} for MLflow ({', '.join(self.entries)}): {sync}")
        reasons = [f"{name}: {why}" for name, every in self.refused.items() for why in every]
        for reason in reasons[:_QUOTED]:
            found.append(f"MLflow refused an entry of {reason}; once that is fixed: {sync}")
        if len(reasons) > _QUOTED:
            found.append(f"MLflow refused {len(reasons) - _QUOTED} more entries")
        return found


def waiting(folder: SweepFolder) -> Waiting:
    """Return the lines that MLflow lacks of the sweep in a folder."""
    entries: Counter[str] = Counter()
    refused: dict[str, list[str]] = {}
    for source in sources(folder):
        lines = source.lines()
        position = source.position(lines)
        entries[source.name] += sum(line.start >= position.bytes for line in lines)
        refused.setdefault(source.name, []).extend(position.refused.values())
    return Waiting(
        sweep_id=folder.sweep_id,
        entries={name: count for name, count in sorted(entries.items()) if count},
        refused={name: reasons for name, reasons in sorted(refused.items()) if reasons},
    )
