"""What the driver hands to its hosts and trials: one frozen value, cheap to pickle."""

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from sweeps.results.folder import SweepFolder
from sweeps.storage import places
from workers.measures import reported_as

if TYPE_CHECKING:  # the processes of trials read this file, and need neither
    from sweeps.spec.sweep import Sweep


@dataclass(frozen=True, kw_only=True)
class SweepContext:
    """One sweep, as its hosts know it."""

    sweep: "Sweep"
    folder: SweepFolder
    threads: int
    beside: int = 1
    """Hosts on a host's node, itself included: without GPUs they share its memory."""
    storage: str | None = None
    """Address of the object store in which the results live; null is a folder that all share."""

    def private(self, name: str) -> "SweepContext":
        """Return the same for a process that writes: in a store, with a working copy of its own."""
        if self.storage is None:
            return self
        return replace(self, folder=replace(self.folder, root=places.private(self.storage, name)))

    @property
    def objective(self) -> str:
        """The metric in a report that decides, such as ``val/cider``."""
        return reported_as(self.sweep.search.objective.metric)

    def better(self, value: float, than: float | None) -> bool:
        """Say whether an objective value beats another; NaN never does."""
        if than is None:
            return value == value
        return value > than if self.sweep.search.objective.mode == "max" else value < than
