"""What waits for MLflow, sent as far as it takes it now."""

from collections.abc import Iterator
from dataclasses import replace

from sweeps.results.folder import SweepFolder
from sweeps.tracking import outbox
from sweeps.tracking.sweep_run import SweepRun


def send(parent: SweepRun, folder: SweepFolder) -> int:
    """Send what waits as far as MLflow takes it now; return how many entries were settled.

    What it refused before is tried once more. The sweep's own run comes last: its end says that
    all is told.
    """
    parent.line.hurry()
    sent = 0
    for box in _boxes(parent, folder):
        box.file.reclaim()
        sent += box.flush()
    return sent


def _boxes(parent: SweepRun, folder: SweepFolder) -> Iterator[outbox.Outbox]:
    """Yield what every process left, the driver's last."""
    for spool in folder.spools():
        tracking = replace(parent.tracking, spool=spool)
        names = [path.name for path in sorted(spool.glob("*"))]
        for trial in [name for name in names if name != outbox.SWEEP]:
            yield outbox.named(tracking, parent.run_id, trial)
        yield outbox.of_sweep(tracking, parent.run_id)
