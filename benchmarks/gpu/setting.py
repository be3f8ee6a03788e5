"""Where a run measures, and with which sizes. Imports nothing that may touch a GPU."""

from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class Setting:
    """What all parts of a run have in common."""

    rehearsal: bool
    """Tiny shapes on a CPU: the code is tried, and no figure means anything."""
    scratch: Path
    """Folder for checkpoints."""

    @property
    def device(self) -> str:
        """As torch calls it."""
        return "cpu" if self.rehearsal else "cuda:0"

    def size(self, real: T, tiny: T) -> T:
        """Return what fits the run."""
        return tiny if self.rehearsal else real

    @property
    def git(self) -> str:
        """Name of the small model in `benchmarks.packing.sizes`."""
        return self.size("git-base", "tiny-git")

    @property
    def checkpoint(self) -> Path:
        """Folder of the small model, which `benchmarks.gpu.machine` writes."""
        return self.scratch / self.git
