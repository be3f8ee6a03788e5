"""A trial's name, title and point, how it can end, and the state it begins from."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

Ending = Literal["completed", "stopped", "failed", "failed-by-guard", "interrupted"]
"""The ways in which a trial or a sweep ends."""


Point = Mapping[str, Any]
"""Dotted field -> value, as the sampler proposed it."""

ACKNOWLEDGED = "acknowledged"
"""Key of a trial's config: the last rung that Tune has got; none for a trial that begins."""

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
