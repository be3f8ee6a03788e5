from types import SimpleNamespace

from ray.tune.experiment import Trial

from sweeps.fleet import hosts as callbacks
from sweeps.fleet.hosts import FollowCluster


class Recording:
    """What the callback asks of the hosts."""

    def __init__(self):
        self.looks, self.retained = 0, []

    def follow(self):
        self.looks += 1

    def retain(self, numbers):
        self.retained.append(numbers)


def test_every_step_looks_at_the_cluster_and_some_keep_slots_for_live_trials(monkeypatch):
    now = [0.0]
    monkeypatch.setattr(callbacks.time, "monotonic", lambda: now[0])
    states = (Trial.RUNNING, Trial.PAUSED, Trial.PENDING, Trial.TERMINATED, Trial.ERROR)
    trials = [
        SimpleNamespace(status=state, config={"number": number})
        for number, state in enumerate(states)
    ]
    hosts = Recording()
    callback = FollowCluster(hosts)
    for now[0] in (1.0, 2.0, callbacks.RETAIN_SECONDS + 1, callbacks.RETAIN_SECONDS + 2):
        callback.on_step_begin(0, trials)
    assert hosts.looks == 4
    assert hosts.retained == [[0, 2]]
