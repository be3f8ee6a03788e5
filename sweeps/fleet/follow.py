"""Lets Tune's loop keep the fleet in step with the cluster."""

import time
from collections.abc import Sequence
from typing import Any

from ray import tune
from ray.tune.experiment import Trial

from sweeps.fleet.hosts import Hosts

RETAIN_SECONDS = 10.0


class FollowCluster(tune.Callback):
    """Looks after the hosts between the events of trials."""

    def __init__(self, hosts: Hosts) -> None:
        self._hosts = hosts
        self._retained = time.monotonic()

    def on_step_begin(self, iteration: int, trials: Sequence[Any], **_: Any) -> None:
        """Look at the cluster, and free the slots of trials that ended without a word."""
        self._hosts.follow()
        if time.monotonic() - self._retained > RETAIN_SECONDS:
            self._retained = time.monotonic()
            live = [trial for trial in trials if trial.status in (Trial.PENDING, Trial.RUNNING)]
            self._hosts.retain([trial.config["number"] for trial in live])
