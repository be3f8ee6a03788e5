"""What the driver hands to its hosts and trials: one frozen value, cheap to pickle."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from sweeps.paths import SweepFolder
from sweeps.storage import places
from sweeps.sweep import Sweep
from sweeps.tracking import Tracking
from workers.measures import reported_as

Point = Mapping[str, Any]
"""Dotted field -> value, as the sampler proposed it."""

EXAMPLE_IMAGES = 2
"""Validation images whose captions are shown at rung 0 and at a trial's end."""

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

FULL = "full"
"""Key of a result: the disk is full or the storage away, in words; the rung is not on record."""


@dataclass(frozen=True, kw_only=True)
class Start:
    """The state of another trial from which a trial begins."""

    trial: str
    rung: int
    folder: str
    """Name of the copy, see `sweeps.paths.SweepFolder.start`."""


@dataclass(frozen=True, kw_only=True)
class SweepContext:
    """One sweep, as its hosts know it."""

    sweep: Sweep
    folder: SweepFolder
    tracking: Tracking
    parent_run_id: str
    threads: int
    beside: int = 1
    """Hosts on a host's node, itself included: without GPUs they share its memory."""
    storage: str | None = None
    """Address of the object store in which the results live; null is a folder that all share."""

    def working(self, name: str) -> "SweepContext":
        """Return the same for a process that reads, with the working copy of this name."""
        return self._below(places.working(self.storage, name)) if self.storage else self

    def private(self, name: str) -> "SweepContext":
        """Return the same for a process that writes, with a working copy and a spool of its own."""
        if self.storage is None:
            return self
        own = self._below(places.private(self.storage, name))
        spool = own.folder.spool_of(own.folder.root.name)
        return replace(own, tracking=replace(own.tracking, spool=spool))

    def _below(self, root: Path) -> "SweepContext":
        return replace(self, folder=replace(self.folder, root=root))

    @property
    def objective(self) -> str:
        """The metric in a report that decides, such as ``val/cider``."""
        return reported_as(self.sweep.search.objective.metric)

    def better(self, value: float, than: float | None) -> bool:
        """Say whether an objective value beats another; NaN never does."""
        if than is None:
            return value == value
        return value > than if self.sweep.search.objective.mode == "max" else value < than


def values_of(sweep: Sweep, metrics: Mapping[str, float]) -> list[float]:
    """Return what a report says of a sweep's objectives; NaN for what it does not say."""
    names = [objective.metric for objective in sweep.search.objectives]
    return [metrics.get(reported_as(name), math.nan) for name in names]


def base_of(sweep: Sweep, point: Point) -> str:
    """Return a name for what trials of one group share: the model as it is loaded and stored."""
    recipe = sweep.with_point(point)
    return f"{recipe.model!r} {recipe.quantization}"


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


_SHORT = {"rank": "r", "alpha": "a", "learning_rate": "lr", "dropout": "d"}


def label(path: str, value: Any) -> str:
    """Return a value of a field in short, such as ``lr0.0003``; nothing for ``none``."""
    field = path.rpartition(".")[2]
    if isinstance(value, str):
        return "" if value == "none" else value
    if isinstance(value, float):
        value = f"{value:.3g}".replace("e-0", "e-")
    return f"{_SHORT[field]}{value}" if field in _SHORT else f"{field}={value}"
