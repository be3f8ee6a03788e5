"""The connection from this process to one MLflow, which may be away."""

import os
import threading
import time
from collections import Counter
from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager
from functools import cache, cached_property
from typing import Any, TypeVar

from sweeps.tracking.client import Tracking
from sweeps.tracking.errors import first_line, is_away

T = TypeVar("T")

TIMEOUT_SECONDS = 15
"""MLflow under load answers within 8 seconds; a request that takes longer is repeated."""
PROBE_SECONDS = 3
"""The same after a request that found MLflow away."""
FIRST_PAUSE, LONGEST_PAUSE = 2.0, 30.0
"""Seconds until a request to an MLflow that is away; they double."""
STRIKES = 3
"""So often a request may fail at an MLflow that answers others, before it is refused."""
_QUICK_SECONDS = 1.0


class AwayError(ConnectionError):
    """MLflow cannot be reached, or cannot answer now."""


class UnansweredError(AwayError):
    """MLflow answers other requests, but could not answer this one."""


class MlflowConnection:
    """The connection to one MLflow, with a circuit breaker; used by one thread at a time.

    A process has one for each MLflow, see `connection_to`.
    """

    def __init__(self, tracking: Tracking) -> None:
        self._tracking = tracking
        self._lock = threading.RLock()
        self._next = float("-inf")
        self._pause = 0.0
        self._strikes: Counter[Hashable] = Counter()

    @cached_property
    def client(self) -> Any:
        """An `MlflowClient`."""
        return self._tracking.client()

    @property
    def is_away(self) -> bool:
        """Whether the last request found MLflow away."""
        return self._pause > 0

    def attempt(self, work: Callable[[Any], T], key: Hashable = None) -> T:
        """Return the result of `work` with the client; failures are counted by `key`.

        Raises AwayError when MLflow is away; at once when it was so a moment ago. Every other
        error is the fault of `work`.
        """
        with self._lock:
            if time.monotonic() < self._next:
                raise AwayError(f"{self._tracking.address} was away a moment ago")
            try:
                done = self._tried(work)
            except Exception as error:
                if not is_away(error):
                    raise
                answers = self._answers()
                self._strikes[key] = self._strikes[key] + 1 if answers else 0
                if self._strikes[key] >= STRIKES:
                    del self._strikes[key]
                    raise
                self._pause = min(max(2 * self._pause, FIRST_PAUSE), LONGEST_PAUSE)
                self._next = time.monotonic() + self._pause
                kind = UnansweredError if answers else AwayError
                raise kind(f"{self._tracking.address} is away: {first_line(error)}") from error
            self._pause, self._next = 0.0, float("-inf")
            del self._strikes[key]
            return done

    def retry_now(self) -> None:
        """Send the next request though MLflow was away a moment ago: it may be back."""
        self._next = float("-inf")

    def wait(self) -> None:
        """Wait until the next request may be made."""
        time.sleep(max(0.0, self._next - time.monotonic()))

    def _tried(self, work: Callable[[Any], T]) -> T:
        began = time.monotonic()
        with _patience(PROBE_SECONDS if self.is_away else TIMEOUT_SECONDS):
            try:
                return work(self.client)
            except Exception as error:
                # A connection that was kept open since the last rung may be closed by now.
                quick = time.monotonic() - began < _QUICK_SECONDS
                if self.is_away or not quick or not is_away(error):
                    raise
                return work(self.client)

    def _answers(self) -> bool:
        """Tell whether MLflow answers a small request."""
        try:
            with _patience(PROBE_SECONDS):
                self.client.search_experiments(max_results=1)
        except Exception:
            return False
        return True


@cache
def connection_to(tracking: Tracking) -> MlflowConnection:
    """Return this process's connection to an MLflow, shared by all that use it."""
    return MlflowConnection(tracking)


@contextmanager
def _patience(seconds: int) -> Iterator[None]:
    """Let MLflow's client try once and wait so long: the publisher tries again anyway."""
    wanted = {
        "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0",
        "MLFLOW_HTTP_REQUEST_TIMEOUT": str(seconds),
    }
    before = {name: os.environ.get(name) for name in wanted}
    os.environ.update(wanted)
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name, None)
            if value is not None:
                os.environ[name] = value
