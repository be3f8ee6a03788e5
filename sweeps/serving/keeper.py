"""The version that answers now, and the change to another without a dropped request."""

import gc
import logging
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from sweeps.serving.batcher import Batcher
from sweeps.serving.served import Registered, ServedModel
from workers.redaction import redact

POLL = 3.0
"""Seconds between looks at the alias."""
RETRY = 60.0
"""Seconds until a version that could not be loaded is tried again."""

log = logging.getLogger(__name__)


class Keeper:
    """Keeps the version that has the alias in memory.

    When the alias moves, the new version is loaded beside the old one, calls that come from then
    on go to it, and the old one is freed when its last call is answered.
    """

    def __init__(self, model: Registered, batcher: Batcher) -> None:
        """Load the version that has the alias; raises ValueError or OSError when it cannot."""
        self.model = model
        self.batcher = batcher
        self._failure: dict[str, str] | None = None
        """Version and reason, of one that has the alias and could not be loaded."""
        self._failed = 0.0
        """When that was, in seconds on `time.monotonic`."""
        self._unreachable: str | None = None
        self._change = threading.Condition()
        self._calls: Counter[ServedModel] = Counter()
        self._current = model.load(model.number(), batcher, beside=None)
        self._ended = threading.Event()

    @contextmanager
    def lease(self) -> Iterator[ServedModel]:
        """Give the version that answers a call; it stays loaded as long as the block lasts."""
        with self._change:
            served = self._current
            self._calls[served] += 1
        try:
            yield served
        finally:
            with self._change:
                self._calls[served] -= 1
                self._change.notify_all()

    def facts(self) -> dict[str, Any]:
        """Return the content of ``/model``: the version, and what prevents a newer one."""
        return {
            "model": self.model.name,
            "alias": self.model.alias,
            **self._current.facts(),
            "failed": self._failure,
            "registry": self._unreachable or "reachable",
        }

    def follow(self) -> None:
        """Look at the alias every `POLL` seconds, in a thread, until `close`."""

        def poll() -> None:
            while not self._ended.wait(POLL):
                self.refresh()

        threading.Thread(target=poll, name="alias", daemon=True).start()

    def close(self) -> None:
        """Follow no longer."""
        self._ended.set()

    def refresh(self) -> None:
        """Change to the version that has the alias now; with a failure the old one stays."""
        try:
            number = self.model.number()
        except Exception as error:  # MLflow and the network have many
            if self._unreachable is None:
                current = self._current.number
                log.error("the alias cannot be read, version %s stays: %s", current, _line(error))
            self._unreachable = _line(error)
            return
        self._unreachable = None
        if number == self._current.number:
            self._failure = None
            return
        failed = self._failure is not None and self._failure["version"] == number
        if failed and time.monotonic() - self._failed < RETRY:
            return
        try:
            new = self.model.load(number, self.batcher, beside=self._current)
        except Exception as error:  # whatever it is, the old version stays
            self._failure = {"version": number, "reason": _line(error)}
            self._failed = time.monotonic()
            log.error(
                "version %s cannot be loaded, version %s stays: %s",
                number,
                self._current.number,
                self._failure["reason"],
            )
            return
        with self._change:
            old, self._current = self._current, new
            self._failure = None
            while self._calls[old]:  # until its last call is answered
                self._change.wait()
            del self._calls[old]
        log.info("version %s answers, no longer version %s", new.number, old.number)
        if old.resident is new.resident:
            old.free(self.batcher)
        del old
        gc.collect()  # a base of its own goes with its last reference


def _line(error: Exception) -> str:
    return redact(" ".join(f"{type(error).__name__}: {error}".split()))[:500]
