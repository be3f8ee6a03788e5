"""Which version answers now, and the change to another without a dropped request."""

import gc
import logging
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sweeps.serving.batcher import Batcher
from sweeps.serving.served import Registered, ServedModel
from workers.redaction import redact

POLL = 3.0
"""Seconds between looks at the alias."""
RETRY = 60.0
"""Seconds until a version that could not be loaded is tried again."""

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Failure:
    """A version that has the alias and could not be loaded."""

    version: str
    reason: str
    at: float
    """Seconds on `time.monotonic`."""


class Keeper:
    """Keeps the version that has the alias in memory.

    When the alias moves, the new version is loaded beside the old one, calls that come from then
    on go to it, and the old one is freed when its last call is answered.
    """

    def __init__(self, model: Registered, batcher: Batcher) -> None:
        """Load the version that has the alias; raises ValueError or OSError when it cannot."""
        self._model = model
        self._batcher = batcher
        self._failure: Failure | None = None
        self._unreachable: str | None = None
        self._change = threading.Condition()
        self._calls: Counter[ServedModel] = Counter()
        self._current = model.load(model.number(), batcher, beside=None)
        self._ended = threading.Event()

    @property
    def folder(self) -> Path | None:
        """Folder of images that may be named by path."""
        return self._model.images

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
        """Return what ``/model`` says: the version, and what keeps a newer one away."""
        failure = self._failure
        return {
            "model": self._model.name,
            "alias": self._model.alias,
            **self._current.facts(),
            "failed": failure and {"version": failure.version, "reason": failure.reason},
            "registry": self._unreachable or "reachable",
        }

    def follow(self) -> None:
        """Look at the alias every `POLL` seconds, in a thread, until `close`."""
        threading.Thread(target=self._follow, name="alias", daemon=True).start()

    def close(self) -> None:
        """Follow no longer."""
        self._ended.set()

    def refresh(self) -> None:
        """Change to the version that has the alias now; with a failure the old one stays."""
        number = self._number()
        if number is None or self._failed_lately(number):
            return
        if number == self._current.number:
            self._failure = None
            return
        try:
            new = self._model.load(number, self._batcher, beside=self._current)
        except Exception as error:  # whatever it is, the old version goes on answering
            self._failure = Failure(version=number, reason=_line(error), at=time.monotonic())
            log.error(
                "version %s cannot be loaded, version %s stays: %s",
                number, self._current.number, self._failure.reason,
            )  # fmt: skip
            return
        self._change_to(new)

    def _follow(self) -> None:
        while not self._ended.wait(POLL):
            self.refresh()

    def _number(self) -> str | None:
        try:
            number = self._model.number()
        except Exception as error:  # MLflow and the network have many
            if self._unreachable is None:
                log.error("the alias cannot be read, version %s stays: %s",
                          self._current.number, _line(error))  # fmt: skip
            self._unreachable = _line(error)
            return None
        self._unreachable = None
        return number

    def _failed_lately(self, number: str) -> bool:
        failure = self._failure
        return (
            failure is not None
            and failure.version == number
            and time.monotonic() - failure.at < RETRY
        )

    def _change_to(self, new: ServedModel) -> None:
        old = self._swap(new)
        log.info("version %s answers, no longer version %s", new.number, old.number)
        if old.resident is new.resident:
            old.free(self._batcher)
        del old
        gc.collect()  # a base of its own goes with its last reference

    def _swap(self, new: ServedModel) -> ServedModel:
        """Let `new` answer; return the version before, when all its calls are answered."""
        with self._change:
            old, self._current = self._current, new
            self._failure = None
            self._change.wait_for(lambda: not self._calls[old])
            del self._calls[old]
        return old


def _line(error: Exception) -> str:
    return redact(" ".join(f"{type(error).__name__}: {error}".split()))[:500]
