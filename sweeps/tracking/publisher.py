"""Brings MLflow up to the records of a sweep: the one way from a sweep to MLflow.

MLflow is a projection of the records. They are published in the driver, by a thread while the sweep
runs, and by ``sweeps sync`` once it is over; a host that trains neither waits for MLflow nor loads
it. How far MLflow has acknowledged each record stands in a file, and each write may be repeated: a
publisher that is killed at any moment, or hears no answer, leaves nothing out and stores nothing
twice.
"""

import logging
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock

from sweeps.results.folder import SweepFolder
from sweeps.results.record import Line
from sweeps.storage import copies, places
from sweeps.storage.store import StorageError
from sweeps.tracking.client import Tracking
from sweeps.tracking.connection import STRIKES, AwayError, UnansweredError, connection_to
from sweeps.tracking.errors import first_line
from sweeps.tracking.projection import Runs, writes_of_old_entry, writes_of_sweep, writes_of_trial
from sweeps.tracking.sources import SWEEP, OldSource, Position, Source, sources
from workers.redaction import redact

PAUSE_SECONDS, STORE_PAUSE_SECONDS = 0.3, 3.0
"""How often the thread looks for new lines; in an object store each look lists its files."""

_log = logging.getLogger(__name__)


class Publisher:
    """Publishes the records of one sweep; several processes may do so, one at a time.

    Never raises for MLflow's sake.
    """

    def __init__(self, tracking: Tracking, folder: SweepFolder, run_id: str) -> None:
        """Take the sweep's own run in MLflow by its id: it is there before its trials begin."""
        self._connection, self._folder = connection_to(tracking), folder
        self._runs = Runs(folder, run_id)
        self._lock = threading.RLock()
        self._kept: dict[Path, Position] = {}
        """By record: the position that this process has kept."""
        self._sizes: dict[Path, int] = {}
        """By record: its bytes when all of it was published."""
        self._news = threading.Event()
        self._is_running = False

    def wake(self) -> None:
        """Publish what is new: at once, or by the thread while that runs."""
        if self._is_running:
            self._news.set()
        else:
            self.publish()

    @contextmanager
    def running(self) -> Iterator[None]:
        """Let a thread publish what is new until the end of the context.

        Lines that are written meanwhile are left to the next call of `publish`.
        """
        over = threading.Event()
        thread = threading.Thread(
            target=self._publish_until, args=(over,), name="publisher", daemon=True
        )
        self._is_running = True
        thread.start()
        try:
            yield
        finally:
            self._is_running = False  # before `join`, which Ctrl-C may interrupt
            over.set()
            self._news.set()
            thread.join()

    def publish(self, *, again: bool = False) -> int:
        """Publish what is new, as far as MLflow accepts it now; return how many lines are settled.

        With `again`, MLflow is tried at once though it was away a moment ago, lines that it
        refused are tried once more, and one that it cannot answer is tried until it is refused.
        """
        settled = 0
        lock = self._folder.acknowledged(SWEEP).with_suffix(".lock")
        lock.parent.mkdir(parents=True, exist_ok=True)
        with self._lock, FileLock(lock):
            if again:
                self._connection.retry_now()
                self._sizes.clear()
            for number in range(STRIKES if again else 1):
                try:
                    for source in sources(self._folder):
                        for _ in self._publish(source, again and number == 0):
                            settled += 1
                    break
                except UnansweredError:
                    if again and number < STRIKES - 1:
                        self._connection.wait()
                except AwayError:
                    break
        return settled

    def _publish_until(self, over: threading.Event) -> None:
        is_store = places.around(self._folder.path) is not None
        reported = None
        while not over.is_set():
            self._news.wait(STORE_PAUSE_SECONDS if is_store else PAUSE_SECONDS)
            self._news.clear()
            try:
                copies.refresh(self._folder.path / "trials", _is_published)
                self.publish()
                reported = None
            except Exception as error:  # such as a full disk: what is not published waits
                if str(error) != reported:
                    _log.warning("records cannot be published now: %s", redact(str(error)))
                reported = str(error)

    def _publish(self, source: Source, again: bool) -> Iterator[None]:
        """Publish a record; yield for each line that is settled. Raises AwayError."""
        try:
            size = source.size()
        except FileNotFoundError:
            return
        if self._sizes.get(source.file) == size:
            return
        lines = source.lines()
        before = source.position(lines)
        if self._kept.get(source.file, before) != before:
            self._runs.forget(source.name)  # another process has published meanwhile
        position = Position(before.bytes, dict(before.refused))
        try:
            if position.bytes > size or self._is_lost(source, lines, position):
                position = Position(0)
                source.keep(position)
            for index, line in enumerate(lines):
                if line.start >= position.bytes or (again and line.start in position.refused):
                    reason = self._settle(source, lines, index)
                    position.refused.pop(line.start, None)
                    if reason is not None:
                        position.refused[line.start] = reason
                    position.bytes = max(position.bytes, line.end)
                    yield
        finally:
            if position != before:
                source.keep(position)
            self._kept[source.file] = position
        self._sizes[source.file] = size
        if isinstance(source, OldSource) and not position.refused:
            source.remove()

    def _is_lost(self, source: Source, lines: Sequence[Line], position: Position) -> bool:
        """Tell whether a trial was opened again whose run was deleted meanwhile."""
        if source.name == SWEEP or isinstance(source, OldSource):
            return False
        again = [line for line in lines if line.event == "opened"][1:]
        if not any(line.start >= position.bytes for line in again):
            return False
        try:
            is_lost = self._connection.attempt(self._runs.trial(source.name).is_missing)
        except AwayError:
            raise
        except Exception:  # the run of the sweep is gone, too: each line says so
            return False
        if is_lost:
            self._runs.forget(source.name)  # the runs of its segments, too
        return is_lost

    def _settle(self, source: Source, lines: Sequence[Line], index: int) -> str | None:
        """Make the writes of a line; return why MLflow refused it, or a part of it."""
        if isinstance(source, OldSource):
            writes = writes_of_old_entry(self._runs, source.box, lines[index])
        elif source.name == SWEEP:
            writes = writes_of_sweep(self._runs, lines, index)
        else:
            writes = writes_of_trial(self._runs, source.name, lines, index)
        reason = None
        for number, write in enumerate(writes):
            try:
                self._connection.attempt(write, key=(source.file, lines[index].start, number))
            except (AwayError, StorageError):
                raise
            except Exception as error:
                reason = reason or redact(first_line(error))
                _log.warning("MLflow refuses a line of %s: %s", source.name, redact(str(error)))
        return reason


def _is_published(path: str) -> bool:
    return path.endswith("/rungs.jsonl") or "/artifacts/" in path
