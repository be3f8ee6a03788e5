"""What waits for MLflow in the folder of a sweep, and what MLflow refused. Only reads."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sweeps.results.folder import SweepFolder
from sweeps.tracking.spool import SpoolFile

_NAMED = 3  # refusals that are quoted


@dataclass(frozen=True, kw_only=True)
class Waiting:
    """What a sweep's outboxes hold, by their names: those of trials, or ``sweep``."""

    sweep_id: str
    entries: Mapping[str, int]
    """How many entries wait."""
    refused: Mapping[str, Sequence[str]]
    """Why MLflow did not take others."""

    @property
    def count(self) -> int:
        """How many entries wait in all."""
        return sum(self.entries.values())

    def lines(self) -> list[str]:
        """Say what waits and what was refused; nothing for a sweep in good order."""
        said = []
        if self.count:
            plural = "entry waits" if self.count == 1 else "entries wait"
            names = ", ".join(self.entries)
            said.append(f"{self.count} {plural} for MLflow ({names}): sweeps sync {self.sweep_id}")
        reasons = [f"{name}: {why}" for name, every in self.refused.items() for why in every]
        again = f"; once that is mended: sweeps sync {self.sweep_id}"
        said += [f"MLflow refused an entry of {reason}{again}" for reason in reasons[:_NAMED]]
        if len(reasons) > _NAMED:
            said.append(f"MLflow refused {len(reasons) - _NAMED} more entries")
        return said


def waiting(folder: SweepFolder) -> Waiting:
    """Return what waits for MLflow in the folder of a sweep."""
    entries: Counter[str] = Counter()
    refused: dict[str, list[str]] = {}
    for path in [path for spool in folder.spools() for path in sorted(spool.glob("*"))]:
        file = SpoolFile(path)
        entries[path.name] += sum(1 for _ in file.pending())
        refused.setdefault(path.name, []).extend(file.refused())
    return Waiting(
        sweep_id=folder.sweep_id,
        entries={name: count for name, count in sorted(entries.items()) if count},
        refused={name: reasons for name, reasons in sorted(refused.items()) if reasons},
    )
