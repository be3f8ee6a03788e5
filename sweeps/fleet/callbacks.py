"""Tune's callback that keeps the fleet in step with the cluster, and ends it with the sweep."""

import signal
import threading
import time
from collections.abc import Sequence
from types import FrameType
from typing import Any

from ray import tune
from ray.tune.experiment import Trial

from sweeps.fleet.hosts import INTERRUPTED_SECONDS, Hosts

RETAIN_SECONDS = 10.0


class FollowCluster(tune.Callback):
    """Looks after the hosts between the events of trials, and stops them on Ctrl-C.

    Tune waits for the rungs in flight, which may take hours; once their hosts are gone, they have
    ended. What they have not reported is trained again when the sweep resumes.
    """

    def __init__(self, hosts: Hosts) -> None:
        self._hosts = hosts
        self._retained = time.monotonic()

    def setup(self, *args: Any, **info: Any) -> None:
        """Handle Ctrl-C together with Tune, whose handler is in place by now."""
        if threading.current_thread() is not threading.main_thread():
            return  # a program that embeds the driver handles signals itself
        handler = signal.getsignal(signal.SIGINT)

        def stop_hosts(number: int, frame: FrameType | None) -> None:
            if callable(handler):
                handler(number, frame)
            stop = threading.Thread(
                target=self._hosts.stop, args=(INTERRUPTED_SECONDS,), daemon=True
            )
            stop.start()

        signal.signal(signal.SIGINT, stop_hosts)

    def on_step_begin(self, iteration: int, trials: Sequence[Any], **_: Any) -> None:
        """Look at the cluster, and free the slots of trials whose processes have died."""
        self._hosts.follow()
        if time.monotonic() - self._retained > RETAIN_SECONDS:
            self._retained = time.monotonic()
            live = [trial for trial in trials if trial.status in (Trial.PENDING, Trial.RUNNING)]
            self._hosts.retain([trial.config["number"] for trial in live])
