"""Clusters of several nodes on this machine, and sweeps that run on them."""

import os
import secrets
import subprocess
import sys
import time

import pytest
from ray._raylet import AuthenticationTokenLoader, Config
from ray.cluster_utils import Cluster

from sweeps.results import record
from sweeps.results.folder import SweepFolder
from sweeps.tracking.client import Tracking
from sweeps.tracking.sweep_run import SweepRun

TOKEN = secrets.token_hex(32)
FILE = """
name: spread
model: {{base: {base}}}
data: {{source: shapes, limit: 120, split: {{train: 0.6, validation: 0.2, test: 0.2}}}}
train: {{epochs: 6, batch_size: 2}}
evaluate: {{metrics: [exact_match], max_new_tokens: 4}}
guard: {{stop: false}}                    # the base is untrained and has few words
search:
  space:
    adapter.rank: {{choice: [2, 4, 8]}}
    train.learning_rate: {{log_uniform: [1e-3, 1e-2]}}
  objective: {{metric: loss}}
  trials: {trials}
schedule: {{{schedule}}}
resources: {{slots: 1, {resources}}}
"""


def reread_settings():
    """Have Ray look for mode and token again, which it does once in a process."""
    Config.initialize("")
    AuthenticationTokenLoader.instance().reset_cache()


@pytest.fixture
def make_cluster(monkeypatch):
    """Return a function: cores of the head -> a cluster; a node of one core has one host."""
    monkeypatch.setenv("RAY_AUTH_MODE", "token")
    monkeypatch.setenv("RAY_AUTH_TOKEN", TOKEN)
    reread_settings()
    made = []

    def make(cores):
        head = {"num_cpus": cores, "include_dashboard": False}
        made.append(Cluster(initialize_head=True, head_node_args=head))
        return made[-1]

    yield make
    for cluster in made:
        cluster.shutdown()
    monkeypatch.undo()
    reread_settings()


@pytest.fixture
def cluster(make_cluster):
    """A head of one core, and so one host."""
    return make_cluster(1)


class Workplace:
    """A folder in which a sweep runs on a cluster."""

    def __init__(self, path, cluster):
        self.path, self.cluster, self.process = path, cluster, None
        self.folder = SweepFolder(root=path / "sweep-results", sweep_id="spread-1")

    def start(self):
        with (self.path / "log").open("w") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-c", "from sweeps.cli.app import main; main()",
                 "run", "spread.yaml"],
                cwd=self.path, stdout=log, stderr=subprocess.STDOUT,
                env={**os.environ, "RAY_ADDRESS": self.cluster.address, "COLUMNS": "300"},
            )  # fmt: skip

    def output(self):
        return (self.path / "log").read_text()

    def wait_for(self, holds, seconds=150.0):
        """Wait until something holds while the sweep runs."""
        deadline = time.monotonic() + seconds
        while not holds():
            assert self.process.poll() is None, f"ended with {self.output()}"
            assert time.monotonic() < deadline, f"after {seconds} seconds: {self.output()}"
            time.sleep(0.2)

    def trained(self):
        """Trials in flight that have a rung on record."""
        rungs = [record.read(self.folder, name) for name in self.folder.trials()]
        return [results for results in rungs if results and not results[-1].is_last]

    def runs(self):
        """MLflow's runs of the trials, with the rungs that each of them reported."""
        root = self.folder.root
        parent = SweepRun.find(Tracking(uri=None, experiment="spread", root=root), "spread-1")
        history = parent.client.get_metric_history
        return [
            (run, [point.step for point in history(run.info.run_id, "val/loss")])
            for run in parent.trials()
        ]


@pytest.fixture
def workplace(tmp_path, untrained_base):
    """Return a function that writes the file of a sweep of so many trials."""
    made = []

    def make(cluster, trials, resources="", schedule="name: fifo"):
        text = FILE.format(
            base=untrained_base, trials=trials, resources=resources, schedule=schedule
        )
        (tmp_path / "spread.yaml").write_text(text)
        made.append(Workplace(tmp_path, cluster))
        return made[-1]

    yield make
    for each in made:
        if each.process:
            each.process.kill()
            each.process.wait()
