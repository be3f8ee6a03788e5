"""A trial's own record: a line per rung, written once the rung's snapshot is on disk.

It is the truth from which a sweep is resumed. Whatever Tune, Optuna or MLflow had not yet heard
when a process died is told to them again from here; no rung on record is trained twice.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from sweeps.results.folder import SweepFolder
from sweeps.trial import GUARD, HOPELESS, VIOLATES

Result = Mapping[str, Any]
"""What a host returns for a rung: ``rung``, ``objective``, ``best``, ``finished``, ``metrics``,
``seconds`` that it took, and ``time`` at which it ended, in seconds since 1970."""


def append(folder: SweepFolder, trial: str, result: Result) -> None:
    """Add a rung to the trial's record."""
    # A trial that the guard stopped at once has neither a snapshot nor a best adapter.
    folder.trial(trial).mkdir(parents=True, exist_ok=True)
    with folder.record(trial).open("a") as file:
        file.write(json.dumps(result) + "\n")
    folder.push(folder.record(trial))


def latest(folder: SweepFolder, trial: str) -> list[dict[str, Any]]:
    """Return the trial's rungs as they are now, wherever its host runs."""
    folder.pull(folder.record(trial))
    return read(folder, trial)


def read(folder: SweepFolder, trial: str) -> list[dict[str, Any]]:
    """Return the trial's rungs in their order; a line cut off by a crash is left out."""
    try:
        lines = folder.record(trial).read_text().splitlines()
    except FileNotFoundError:
        return []
    return [result for line in lines if (result := _parsed(line)) is not None]


def usable(folder: SweepFolder, trial: str) -> list[dict[str, Any]]:
    """Return the rungs that need not be trained again, and forget the others.

    They end with the newest rung that has a snapshot to go on from, or that ended the trial.
    """
    kept = latest(folder, trial)
    while kept and not (is_over(kept[-1]) or _has_snapshot(folder, trial, kept[-1])):
        kept = kept[:-1]
    if folder.record(trial).exists():  # rewritten: a line cut off would spoil the next one
        folder.write(folder.record(trial), "".join(json.dumps(each) + "\n" for each in kept))
    return kept


def is_over(result: Result) -> bool:
    """Tell whether the trial ended with this rung: by itself, the guard, or a limit."""
    return bool(result["finished"] or result.get(GUARD) or result.get(HOPELESS))


def violates(results: Sequence[Result]) -> str | None:
    """Return which limits a trial with these rungs violates, in words."""
    said: str | None = results[-1].get(VIOLATES) if results else None
    return said


def in_order(trials: Mapping[str, Sequence[Result]]) -> list[tuple[str, Result]]:
    """Return the rungs of several trials, by name, in the order in which they ended."""
    rungs = [(trial, result) for trial, results in trials.items() for result in results]
    return sorted(rungs, key=lambda rung: float(rung[1]["time"]))


def _has_snapshot(folder: SweepFolder, trial: str, result: Result) -> bool:
    return folder.holds(folder.snapshot(trial, result["rung"]))


def _parsed(line: str) -> dict[str, Any] | None:
    try:
        result: dict[str, Any] = json.loads(line)
    except ValueError:
        return None
    return result
