"""A trial's name, how it can end, and the keys of a rung's result."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

Ending = Literal["completed", "stopped", "failed", "failed-by-guard", "interrupted"]
"""The ways in which a trial or a sweep ends."""


Point = Mapping[str, Any]
"""Dotted field -> value, as the sampler proposed it."""

FAILED = "failed"
"""Key of a result: why the trial cannot go on, or None."""

GUARD = "guard"
"""Key of a result: why the guard stopped the trial, or None."""

SYMPTOMS = "symptoms"
"""Key of a result: list of what is wrong with the rung, in words; empty for a healthy one."""

OBJECTIVES = "objectives"
"""Key of a result: values of all objectives at the rung, the leading one first."""

BESTS = "bests"
"""Key of a result: the same of the trial's best rung, or None while there is none."""

VIOLATIONS = "violations"
"""Key of a result: name of a limit -> by how much the trial violates it; above 0 is too much."""

VIOLATES = "violates"
"""Key of a result: which limits of the search the trial violates, in words, or None."""

HOPELESS = "hopeless"
"""Key of a result: whether the trial ends because no later rung can keep these limits."""

CHANGES = "changes"
"""Key of a result: how often the trial had been given another point before the rung."""

HEARD = "heard"
"""Key of a trial's config: the last rung that Tune has heard of; none for a trial that begins."""

FULL = "full"
"""Key of a result: the disk is full or the storage away, in words; the rung is not on record."""

_SHORT = {"rank": "r", "alpha": "a", "learning_rate": "lr", "dropout": "d"}


@dataclass(frozen=True, kw_only=True)
class Start:
    """The state of another trial from which a trial begins."""

    trial: str
    rung: int
    folder: str
    """Name of the copy, see `sweeps.results.folder.SweepFolder.start`."""


def trial_id(number: int) -> str:
    """Return a trial's name everywhere: in folders, in MLflow, on the screen."""
    return f"trial-{number:03d}"


def trial_number(trial: str) -> int:
    """Return the number in a trial's name."""
    return int(trial.rpartition("-")[2])


def trial_title(number: int, point: Point) -> str:
    """Return a short distinctive title such as ``trial-009 r16 lr0.0003 nf4``."""
    labels = [label(path, value) for path, value in point.items()]
    return " ".join([trial_id(number), *(text for text in labels if text)])


def label(path: str, value: Any) -> str:
    """Return a value of a field in short, such as ``lr0.0003``; nothing for ``none``."""
    field = path.rpartition(".")[2]
    if isinstance(value, str):
        return "" if value == "none" else value
    if isinstance(value, float):
        value = f"{value:.3g}".replace("e-0", "e-")
    return f"{_SHORT[field]}{value}" if field in _SHORT else f"{field}={value}"


def last_line(error: str) -> str:
    """Return the line of a traceback that names the error."""
    lines = [line for line in error.strip().splitlines() if line.strip()]
    return lines[-1].strip() if lines else "unknown error"
