"""The record of a trial, and of its sweep: append-only files of JSON lines, the truth of a sweep.

A trial's host writes the trial's record: a line per rung, once the rung's snapshot is on disk, and
events, which are lines with an ``event``. The driver writes the sweep's record, of events alone. A
sweep is resumed from the rungs: no rung on record is trained twice. All that MLflow shows of a
sweep is a projection of its records, see `sweeps.tracking.publisher`.

A reader ignores events that it does not know. The events are:

- ``opened``: a host opened the trial, or a driver the sweep; ``format`` is `FORMAT`;
- ``cut``: rungs after the rung ``after`` count no more, for they have to be trained again;
- ``logged``: what MLflow is to show besides, see `sweeps.tracking.projection`; rungs have it, too;
- ``ended``: how a trial, or the sweep itself, ended; in the sweep's record.

Records of format 1 hold rungs alone.
"""

import json
import os
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from sweeps.results.folder import SweepFolder
from sweeps.rung_result import RungResult
from sweeps.storage import copies

FORMAT = 2
"""The version of the format that this code writes."""


@dataclass(frozen=True)
class Line:
    """One line of a record."""

    start: int
    """Where it begins in the file, in bytes."""
    end: int
    """Where the next line begins."""
    values: Mapping[str, Any]
    cut: bool = False
    """A rung that was cut off later."""

    @property
    def event(self) -> str | None:
        """The event; None for a rung."""
        return self.values.get("event")

    @property
    def logged(self) -> Mapping[str, Any]:
        """Values that MLflow is to show besides the rung."""
        logged: Mapping[str, Any] = self.values.get("logged", {})
        return logged


def append(
    folder: SweepFolder, trial: str, result: RungResult, logged: Mapping[str, Any] | None = None
) -> None:
    """Add a rung to the trial's record, with what MLflow is to show besides."""
    write(folder.record(trial), {**result.to_json(), **({"logged": logged} if logged else {})})


def append_event(record: Path, event: str, **values: Any) -> None:
    """Add an event that happens now to a record."""
    write(record, {"event": event, "time": time.time(), **values})


def write(record: Path, values: Mapping[str, Any]) -> None:
    """Add a line; it is on the disk, whatever happens to the machine, when this returns.

    Raises OSError, also for a full disk.
    """
    # A trial that the guard stopped at once has neither a snapshot nor a best adapter.
    record.parent.mkdir(parents=True, exist_ok=True)
    with record.open("a+b") as file:
        # A line that a crash cut off must not spoil the next one.
        size = file.seek(0, os.SEEK_END)
        torn = size > 0 and os.pread(file.fileno(), 1, size - 1) != b"\n"
        file.write((b"\n" if torn else b"") + json.dumps(values).encode() + b"\n")
        file.flush()
        os.fsync(file.fileno())
    copies.push(record)


def lines(record: Path) -> list[Line]:
    """Return the whole lines of a record, without those that a crash cut off.

    Raises ValueError for a record that a later version wrote.
    """
    found: list[Line] = []
    for start, end, values in json_lines(record):
        line = Line(start, end, values)
        if line.event == "opened" and values.get("format", FORMAT) > FORMAT:
            raise ValueError(
                f"{record} must have a record of format {FORMAT} or below, but has format "
                f"{values['format']}: open it with the version of sweeps that wrote it"
            )
        if line.event == "cut":
            found = [
                replace(
                    one, cut=one.cut or (not one.event and one.values["rung"] > values["after"])
                )
                for one in found
            ]
        found.append(line)
    return found


def json_lines(file: Path) -> list[tuple[int, int, dict[str, Any]]]:
    """Return the whole lines of a file of JSON objects: where each begins and ends, and it."""
    try:
        data = file.read_bytes()
    except FileNotFoundError:
        return []
    found, start = [], 0
    for text in data.splitlines(keepends=True):
        end = start + len(text)
        with suppress(ValueError):
            values = json.loads(text)
            if text.endswith(b"\n") and isinstance(values, dict):
                found.append((start, end, values))
        start = end
    return found


def openings(lines: Sequence[Line]) -> int:
    """Return how often a host opened a trial; 0 for a record of format 1."""
    return sum(line.event == "opened" for line in lines)


def latest(folder: SweepFolder, trial: str) -> list[RungResult]:
    """Return the trial's rungs as they are now, wherever its host runs."""
    folder.pull(folder.record(trial))
    return read(folder, trial)


def read(folder: SweepFolder, trial: str) -> list[RungResult]:
    """Return the trial's rungs in their order; a line cut off by a crash is left out."""
    rungs = [line for line in lines(folder.record(trial)) if not line.event and not line.cut]
    return [RungResult.from_json(line.values) for line in rungs]


def usable(folder: SweepFolder, trial: str) -> list[RungResult]:
    """Return the rungs that need not be trained again, and cut off the others.

    They end with the newest rung that has a snapshot to resume from, or that ended the trial.
    """
    every = latest(folder, trial)
    kept = every
    while kept and not (kept[-1].is_last or folder.holds(folder.snapshot(trial, kept[-1].rung))):
        kept = kept[:-1]
    if len(kept) < len(every):
        append_event(folder.record(trial), "cut", after=kept[-1].rung if kept else -1)
    return kept


def in_order(trials: Mapping[str, Sequence[RungResult]]) -> list[tuple[str, RungResult]]:
    """Return the rungs of several trials, by name, in the order in which they ended."""
    rungs = [(trial, result) for trial, results in trials.items() for result in results]
    return sorted(rungs, key=lambda rung: rung[1].time)
