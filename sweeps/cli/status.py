"""``sweeps status``: how sweeps stand, by what is on disk; whether a driver lives or not."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from sweeps.driver.live import summary, table
from sweeps.driver.progress import Progress
from sweeps.results import lease
from sweeps.results.folder import SweepFolder
from sweeps.results.lease import Driver
from sweeps.spec.load import load
from sweeps.storage import places
from sweeps.study.trials import trial_states
from sweeps.tracking.sources import Waiting, waiting


@dataclass(frozen=True, kw_only=True)
class SweepStatus:
    """How a sweep stands."""

    progress: Progress
    driver: Driver | None
    """Who runs it; None for a sweep that nobody runs."""
    waiting: Waiting

    @property
    def notes(self) -> list[str]:
        """Who runs it or how to resume it, and what waits for MLflow."""
        return [self._driven, *self.waiting.lines()]

    @property
    def _driven(self) -> str:
        if self.driver:
            return f"run by {self.driver}"
        if self.progress.ended < self.progress.wanted:
            return f"not running; go on with: sweeps resume {self.progress.sweep_id}"
        return "ended"


def status_of(folder: SweepFolder) -> SweepStatus:
    """Return how a sweep stands; raises ValueError for one that this version cannot read."""
    sweep, driver = load(folder.spec), lease.living(folder)
    progress = Progress.of(sweep, folder)
    progress.recover(trial_states(sweep, folder, driven=driver is not None).values())
    progress.paused = driver is not None and folder.paused.exists()
    return SweepStatus(progress=progress, driver=driver, waiting=waiting(folder))


def show(sweep_id: str | None, results: Path, console: Console) -> None:
    """Print a sweep's trials, or a line for each sweep.

    Raises FileNotFoundError for an unknown sweep.
    """
    if sweep_id is None:
        lines = list(_every(results)) or [f"there is no sweep in {places.shown(results)} yet"]
    else:
        status = status_of(SweepFolder.find(results, sweep_id))
        console.print(table(status.progress))
        lines = status.notes
    for line in lines:
        console.print(line, soft_wrap=True)


def _every(results: Path) -> Iterator[str]:
    """Yield a line for each sweep, the newest last."""
    found = sorted(SweepFolder.every(results), key=lambda folder: folder.spec.stat().st_mtime)
    for folder in found:
        folder.refresh()
        try:
            status = status_of(folder)
        except ValueError as error:  # of an older version
            yield f"{folder.sweep_id}: cannot be read: {str(error).splitlines()[0]}"
        else:
            yield "; ".join([summary(status.progress), *status.notes])
