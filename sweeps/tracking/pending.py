"""What MLflow lacks of a sweep's records: lines that wait, and lines that it refused."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sweeps.results.folder import SweepFolder
from sweeps.tracking.sources import sources

_NAMED = 3  # refusals that are quoted


@dataclass(frozen=True, kw_only=True)
class Waiting:
    """What MLflow lacks of a sweep, by the names of records: those of trials, or ``sweep``."""

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
        """Say what waits and what was refused; nothing for a sweep in good order."""
        said = []
        if self.count:
            plural = "entry waits" if self.count == 1 else "entries wait"
            names = ", ".join(self.entries)
            said.append(f"{self.count} {plural} for MLflow ({names}): sweeps sync {self.sweep_id}")
        reasons = [f"{name}: {why}" for name, every in self.refused.items() for why in every]
        again = f"; once that is fixed: sweeps sync {self.sweep_id}"
        said += [f"MLflow refused an entry of {reason}{again}" for reason in reasons[:_NAMED]]
        if len(reasons) > _NAMED:
            said.append(f"MLflow refused {len(reasons) - _NAMED} more entries")
        return said


def waiting(folder: SweepFolder) -> Waiting:
    """Return what MLflow lacks of the sweep in a folder."""
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
