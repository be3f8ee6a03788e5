"""Tells MLflow, in the driver, what the hosts beside it have put on disk."""

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from sweeps.results.folder import SweepFolder
from sweeps.tracking.client import Tracking
from sweeps.tracking.outbox import SWEEP, Outbox, named, of_sweep

PAUSE_SECONDS = 0.3
"""How often it looks for what is new."""

_log = logging.getLogger(__name__)


class Teller:
    """Sends the outboxes in the spool of a sweep, in a thread.

    A host that trains does not wait for MLflow, and does not load it. What is on disk when the
    thread ends is left to whoever closes the sweep, or goes on with it.
    """

    def __init__(self, tracking: Tracking, run_id: str, folder: SweepFolder) -> None:
        self._tracking, self._run_id, self._folder = tracking, run_id, folder
        self._boxes: dict[str, Outbox] = {}
        """By name: each knows what its run has, and need not ask for it."""

    def tell(self) -> int:
        """Send what is there now; return how many entries were sent."""
        return sum(self._box(name).flush() for name in self._names())

    def _names(self) -> list[str]:
        """Return the outboxes that hold something, the sweep's own last."""
        found = [entries.parent.name for entries in self._folder.spool.glob("*/entries.jsonl")]
        return sorted(found, key=lambda name: (name == SWEEP, name))

    def _box(self, name: str) -> Outbox:
        if name not in self._boxes:
            own = name == SWEEP
            self._boxes[name] = (
                of_sweep(self._tracking, self._run_id)
                if own
                else named(self._tracking, self._run_id, name)
            )
        return self._boxes[name]


def _until(over: threading.Event, teller: Teller) -> None:
    while not over.wait(PAUSE_SECONDS):
        try:
            teller.tell()
        except Exception as error:  # a full disk, say: what is not sent waits
            _log.warning("what waits for MLflow cannot be sent now: %s", error)


@contextmanager
def telling(tracking: Tracking, run_id: str, folder: SweepFolder) -> Iterator[None]:
    """Let a thread tell MLflow what hosts put on disk, until the end of the context."""
    over = threading.Event()
    thread = threading.Thread(
        target=_until, args=(over, Teller(tracking, run_id, folder)), name="teller", daemon=True
    )
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
