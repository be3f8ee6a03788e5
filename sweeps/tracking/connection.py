"""The way from this process to one MLflow: open, or away since a moment ago."""

import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache, cached_property
from typing import Any, TypeVar

from sweeps.tracking.client import Tracking
from sweeps.tracking.errors import first_line, is_away

T = TypeVar("T")

TIMEOUT_SECONDS = 15
"""MLflow under load answers within 8 seconds; what it answers later is asked again."""
PROBE_SECONDS = 3
"""The same while MLflow was away when last asked."""
FIRST_PAUSE, LONGEST_PAUSE = 2.0, 30.0
"""Seconds until an MLflow that is away is asked again; they double."""
STRIKES = 3
"""So often an entry may fail at an MLflow that answers everything else."""
_QUICK_SECONDS = 1.0


class AwayError(ConnectionError):
    """MLflow cannot be reached, or cannot answer now."""


class Line:
    """The way to one MLflow. A process has one for each, see `line_to`; one thread at a time."""

    def __init__(self, tracking: Tracking) -> None:
        self._tracking = tracking
        self._taken = threading.RLock()
        self._next = float("-inf")
        self._pause = 0.0
        self._strikes = 0

    @cached_property
    def client(self) -> Any:
        """An `MlflowClient`."""
        return self._tracking.client()

    @property
    def is_away(self) -> bool:
        """Whether MLflow was away when last asked."""
        return self._pause > 0

    def attempt(self, work: Callable[[Any], T]) -> T:
        """Return what `work` makes of the client.

        Raises AwayError when MLflow is away; at once when it was so a moment ago. Every other
        error is the fault of `work`.
        """
        with self._taken:
            if time.monotonic() < self._next:
                raise AwayError(f"{self._tracking.address} was away a moment ago")
            try:
                done = self._tried(work)
            except Exception as error:
                if not is_away(error) or self._is_struck_out():
                    raise
                self._away()
                raise AwayError(f"{self._tracking.address} is away: {first_line(error)}") from error
            self._pause, self._next, self._strikes = 0.0, float("-inf"), 0
            return done

    def hurry(self) -> None:
        """Ask again at once: somebody thinks that MLflow is back."""
        self._next = float("-inf")

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

    def _is_struck_out(self) -> bool:
        """Tell whether `work` failed time and again while MLflow answers a small question."""
        try:
            with _patience(PROBE_SECONDS):
                self.client.search_experiments(max_results=1)
        except Exception:
            self._strikes = 0
            return False
        self._strikes = (self._strikes + 1) % STRIKES
        return self._strikes == 0

    def _away(self) -> None:
        self._pause = min(max(2 * self._pause, FIRST_PAUSE), LONGEST_PAUSE)
        self._next = time.monotonic() + self._pause


@cache
def line_to(tracking: Tracking) -> Line:
    """Return this process's way to an MLflow: what one trial learns of it, all know."""
    return Line(tracking)


@contextmanager
def _patience(seconds: int) -> Iterator[None]:
    """Let MLflow's client ask once and wait so long: what is spooled is asked again anyway."""
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
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
