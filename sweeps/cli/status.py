"""``sweeps status``: the state of sweeps, from the files on disk; with or without a driver."""

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
    """The state of a sweep."""

    progress: Progress
    driver: Driver | None
    """The process that runs it; None for a sweep without one."""
    waiting: Waiting

    @property
    def notes(self) -> list[str]:
        """The process that runs it or how to resume it, what waits for MLflow, and for images."""
        driven = "ended"
        if self.driver:
            driven = f"run by {self.driver}"
        elif self.progress.ended < self.progress.wanted:
            driven = f"not running; go on with: sweeps resume {self.progress.sweep_id}"
        return [driven, *self.waiting.lines(), *_image_waits(self.progress)]


def _image_waits(progress: Progress) -> list[str]:
    """Return a line on how often training waited for images, or none before the first rung."""
    rungs = [rung.image_waits for trial in progress.trials.values() for rung in trial.rungs]
    counted = [waits for waits in rungs if waits]
    if not counted:
        return []
    waits, seconds = (sum(each[name] for each in counted) for name in ("waits", "seconds"))
    if not waits:
        return ["images: no training step has waited for one"]
    last = max(each["last"] for each in counted)
    return [
        f"images: {waits:.0f} training steps waited for some, {seconds:.1f} s in all, "
        f"none of them after step {last:.0f} of its rung"
    ]


def status_of(folder: SweepFolder) -> SweepStatus:
    """Return the state of a sweep; raises ValueError for one that this version cannot read."""
    sweep, driver = load(folder.spec), lease.living(folder)
    progress = Progress.of(sweep, folder)
    progress.recover(trial_states(sweep, folder, driven=driver is not None).values())
    progress.paused = driver is not None and folder.paused.exists()
    return SweepStatus(progress=progress, driver=driver, waiting=waiting(folder))


def show(sweep_id: str | None, results: Path, console: Console) -> None:
    """Print a sweep's trials, or a line for each; raises FileNotFoundError for an unknown one."""
    if sweep_id is not None:
        status = status_of(SweepFolder.find(results, sweep_id))
        console.print(table(status.progress))
        for note in status.notes:
            console.print(note, soft_wrap=True)
        return
    # The newest last.
    found = sorted(SweepFolder.every(results), key=lambda folder: folder.spec.stat().st_mtime)
    if not found:
        console.print(f"there is no sweep in {places.shown(results)} yet", soft_wrap=True)
    for folder in found:
        folder.refresh()
        try:
            status = status_of(folder)
            line = "; ".join([summary(status.progress), *status.notes])
        except ValueError as error:  # of an older version
            line = f"{folder.sweep_id}: cannot be read: {str(error).splitlines()[0]}"
        console.print(line, soft_wrap=True)
