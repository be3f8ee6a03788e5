"""What is written to one run: sent at once while the way to MLflow is open, else kept on disk.

A host beside the driver keeps all of it on disk, where the driver's `sweeps.tracking.sender`
finds it.
"""

import logging
from typing import Any

from sweeps.tracking.address import Address, address
from sweeps.tracking.client import Tracking
from sweeps.tracking.connection import AwayError, Line, line_to
from sweeps.tracking.entries import Entry
from sweeps.tracking.errors import first_line
from sweeps.tracking.remote_run import RemoteRun
from sweeps.tracking.spool import SpoolFile

SWEEP = "sweep"
"""Name of the outbox of the sweep's own run; the others are called like their trials."""

_log = logging.getLogger(__name__)


class Outbox:
    """The way of one run's entries to MLflow, in their order. Never raises for MLflow's sake."""

    def __init__(self, tracking: Tracking, line: Line, file: SpoolFile, run: RemoteRun) -> None:
        self.tracking = tracking
        self.line = line
        self.file = file
        self.run = run

    @property
    def client(self) -> Any:
        """An `MlflowClient`, to read with."""
        return self.line.client

    def put(self, entry: Entry) -> None:
        """Send an entry, or keep it on disk until it can be sent; OSError for a full disk."""
        if not self.tracking.sends:
            self.file.append(entry)
        elif not self.file.is_empty or not self._settled(entry):
            self.file.append(entry)
            self.flush()

    def flush(self) -> int:
        """Send what waits, as far as MLflow takes it now; return how many entries were sent."""
        sent = 0
        while not self.file.is_empty and (more := self._send()):
            sent += more
        return sent

    def _send(self) -> int:
        """Send what waits now; return how many entries were sent."""
        sent, reached = 0, 0
        with self.file.sending():
            try:
                for end, entry in self.file.ends():
                    if not self._settled(entry):
                        break
                    sent, reached = sent + 1, end
            finally:
                if sent:
                    self.file.advance(reached)
        return sent

    def _settled(self, entry: Entry) -> bool:
        """Say whether MLflow has taken the entry, or never will."""
        try:
            self.line.attempt(lambda client: self.run.tell(client, entry))
        except AwayError:
            return False
        except Exception as error:
            self.file.refuse(entry, first_line(error))
            _log.warning("MLflow refuses %s of %s: %s", entry.kind, self.file.folder.name, error)
        return True


def of_trial(
    tracking: Tracking, sweep_run_id: str, trial: str, segment: int | None = None
) -> Outbox:
    """Return the outbox of a trial's run, or of the run of a segment of it."""
    place = Address(sweep_run_id, trial, segment)
    return _outbox(tracking, place.name, RemoteRun(place))


def named(tracking: Tracking, sweep_run_id: str, name: str) -> Outbox:
    """Return the outbox of a trial or a segment that is called so."""
    return _outbox(tracking, name, RemoteRun(address(sweep_run_id, name)))


def of_sweep(tracking: Tracking, run_id: str) -> Outbox:
    """Return the outbox of a sweep's own run."""
    return _outbox(tracking, SWEEP, RemoteRun(None, run_id))


def _outbox(tracking: Tracking, name: str, run: RemoteRun) -> Outbox:
    return Outbox(tracking, line_to(tracking), SpoolFile(tracking.waiting / name), run)
