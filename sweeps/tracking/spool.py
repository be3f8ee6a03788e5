"""Entries of one run that wait on disk: written to the disk itself, sent in their order.

A folder holds ``entries.jsonl``, to which lines are only added; ``sent.json``, how far they are
sent; and ``refused.jsonl``, what MLflow did not take, with its reasons. Once all is sent the
first two are removed. One process sends at a time, and others add meanwhile: each of the two has a
lock, which dies with its holder.
"""

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock

from sweeps.storage import copies
from sweeps.tracking.entries import Entry, parse
from workers.files.atomic import atomic_write
from workers.redaction import redact


@dataclass(frozen=True)
class SpoolFile:
    """The entries of one run."""

    folder: Path

    @contextmanager
    def sending(self) -> Iterator[None]:
        """Keep other processes and threads from sending."""
        with self._locked("sender"):
            yield

    @property
    def is_empty(self) -> bool:
        """Whether nothing waits."""
        return not self._entries.exists() or next(self.pending(), None) is None

    def append(self, entry: Entry) -> None:
        """Add an entry; it is on the disk, whatever happens to the machine, when this returns."""
        with self._locked("lock"), self._entries.open("a+b") as file:
            file.write((b"" if self._ends_in_a_line() else b"\n") + entry.line())
            file.flush()
            os.fsync(file.fileno())
            copies.push(self._entries)

    def pending(self) -> Iterator[Entry]:
        """Yield what waits, in its order; a line that a crash cut off was never reported."""
        for _, entry in self.ends():
            yield entry

    def ends(self) -> Iterator[tuple[int, Entry]]:
        """Yield what waits, each with the byte behind it; more may be added meanwhile."""
        for end, entry in self._lines():
            if entry is not None:
                yield end, entry

    def advance(self, end: int) -> None:
        """Say, while sending, that all up to this byte is settled."""
        with self._locked("lock"):
            atomic_write(self._sent, json.dumps({"bytes": end}))
            copies.push(self._sent)
            if next(self.pending(), None) is None:
                # In this order: what is sent twice is stored once, what is skipped is lost.
                copies.drop(self._sent)
                copies.drop(self._entries)

    def refuse(self, entry: Entry, reason: str) -> None:
        """Keep an entry apart that MLflow does not take."""
        self.folder.mkdir(parents=True, exist_ok=True)
        with self._refused.open("a") as file:
            file.write(json.dumps({"reason": redact(reason), "entry": asdict(entry)}) + "\n")
        copies.push(self._refused)

    def refused(self) -> list[str]:
        """Return why entries were refused, one reason each."""
        return [each["reason"] for each in self._refusals()]

    def reclaim(self) -> None:
        """Let what was refused wait once more: somebody may have mended the reason."""
        refusals = self._refusals()
        for each in refusals:
            self.append(Entry(**each["entry"]))
        if refusals:
            copies.drop(self._refused)

    @contextmanager
    def _locked(self, name: str) -> Iterator[None]:
        self.folder.mkdir(parents=True, exist_ok=True)
        with FileLock(self.folder / name):
            yield

    def _refusals(self) -> list[Any]:
        try:
            lines = self._refused.read_text().splitlines()
        except FileNotFoundError:
            return []
        return [json.loads(line) for line in lines if line.endswith("}")]

    def _lines(self) -> Iterator[tuple[int, Entry | None]]:
        """Yield the lines that are not sent: where each ends, and its entry if it is whole."""
        try:
            with self._entries.open("rb") as file:
                end = file.seek(self._offset())
                for line in file:
                    end += len(line)
                    if line.endswith(b"\n"):
                        yield end, parse(line)
        except FileNotFoundError:  # all was sent meanwhile
            return

    def _offset(self) -> int:
        try:
            return int(json.loads(self._sent.read_text())["bytes"])
        except FileNotFoundError:
            return 0

    def _ends_in_a_line(self) -> bool:
        with self._entries.open("rb") as file:
            if file.seek(0, os.SEEK_END) == 0:
                return True
            file.seek(-1, os.SEEK_END)
            return file.read() == b"\n"

    @property
    def _entries(self) -> Path:
        return self.folder / "entries.jsonl"

    @property
    def _sent(self) -> Path:
        return self.folder / "sent.json"

    @property
    def _refused(self) -> Path:
        return self.folder / "refused.jsonl"
