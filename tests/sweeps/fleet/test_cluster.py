"""Sweeps on clusters of several nodes on this machine: nodes that die, and nodes that join."""

import os
import subprocess
import sys
import time

import pytest
from ray.cluster_utils import Cluster

from sweeps import record
from sweeps.paths import SweepFolder
from sweeps.sweep_run import SweepRun
from sweeps.tracking import Tracking

pytestmark = pytest.mark.slow

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
schedule: {{name: fifo}}
resources: {{{resources}}}
"""


@pytest.fixture
def cluster(monkeypatch):
    """A head; each node has one core and so one host."""
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")
    head = {"num_cpus": 1, "include_dashboard": False}
    cluster = Cluster(initialize_head=True, head_node_args=head)
    yield cluster
    cluster.shutdown()


class Workplace:
    """A folder in which a sweep runs on a cluster."""

    def __init__(self, path, cluster):
        self.path, self.cluster, self.process = path, cluster, None
        self.folder = SweepFolder(root=path / "sweep-results", sweep_id="spread-1")

    def start(self):
        with (self.path / "log").open("w") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-c", "from sweeps.cli import main; main()", "run", "spread.yaml"],
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
        return [results for results in rungs if results and not record.is_over(results[-1])]

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
def workplace(tmp_path, cluster, untrained_base):
    """Return a function that writes the file of a sweep of so many trials."""
    made = []

    def make(trials, resources=""):
        text = FILE.format(base=untrained_base, trials=trials, resources=resources)
        (tmp_path / "spread.yaml").write_text(text)
        made.append(Workplace(tmp_path, cluster))
        return made[-1]

    yield make
    for each in made:
        if each.process:
            each.process.kill()
            each.process.wait()


def test_a_sweep_outlives_a_node_and_uses_one_that_joins(workplace, cluster):
    lost = [cluster.add_node(num_cpus=1) for _ in range(2)][1]
    place = workplace(trials=24)
    place.start()
    place.wait_for(lambda: len(place.trained()) == 3)
    cluster.remove_node(lost, allow_graceful=False)
    cluster.add_node(num_cpus=1)
    place.wait_for(lambda: "has left; its trials go on elsewhere" in place.output())
    assert place.process.wait(timeout=200) == 0, place.output()
    assert "has joined and takes trials" in place.output()
    found = place.runs()
    assert len(found) == 24
    # The lost one's trials have gone to another, and the one that joined has done some.
    assert {"host-0", "host-3"} <= {run.data.tags["host"] for run, _ in found}
    for run, steps in found:
        assert run.data.tags["trial.state"] == "completed", place.output()
        assert [step for step in steps if step] == [1, 2, 3, 4, 5, 6]
    for name in place.folder.trials():
        assert [each["rung"] for each in record.read(place.folder, name)] == [1, 2, 3, 4, 5, 6]


def test_hosts_share_a_gpu_and_leave_nodes_without_one_alone(workplace, cluster):
    cluster.add_node(num_cpus=2, num_gpus=1)
    place = workplace(trials=4, resources="gpus_per_host: 0.5")
    place.start()
    assert place.process.wait(timeout=200) == 0, place.output()
    found = place.runs()
    assert [run.data.tags["trial.state"] for run, _ in found] == ["completed"] * 4
    assert {run.data.tags["host"] for run, _ in found} == {"host-0", "host-1"}


@pytest.fixture
def far_node(cluster, tmp_path):
    """Return a function that starts a node whose own disk is mounted at a folder."""
    started = []

    def start(folder):
        ray = f"{sys.executable} -m ray.scripts.scripts start --address={cluster.address}"
        script = f"mount -t tmpfs none {folder} && exec {ray} --num-cpus=1 --block"
        log = tmp_path / "far.log"
        with log.open("w") as file:
            started.append(
                subprocess.Popen(
                    ["unshare", "--mount", "bash", "-c", script],
                    stdout=file,
                    stderr=file,
                    env={**os.environ, "PYTHONUNBUFFERED": "1"},
                )
            )
        for _ in range(300):
            if "--block" in log.read_text():
                return
            if started[0].poll() is not None and "mount" in log.read_text():
                pytest.skip("this user may not mount anything")
            assert started[0].poll() is None, log.read_text()
            time.sleep(0.2)
        raise AssertionError(log.read_text())

    yield start
    for process in started:
        process.terminate()
        process.wait(timeout=60)


def test_a_node_that_reaches_no_shared_folder_is_named(workplace, far_node):
    place = workplace(trials=1)
    place.folder.root.mkdir()
    far_node(place.folder.root)
    place.start()
    assert place.process.wait(timeout=120) == 2, place.output()
    said = place.output()
    assert f"cannot use {place.folder.root}: FileNotFoundError" in said
    assert "every node must reach one shared folder there: name one with --results" in said
    assert "Traceback" not in said
