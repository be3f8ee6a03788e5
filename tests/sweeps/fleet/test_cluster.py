"""Sweeps on clusters of several nodes on this machine: nodes that die, and nodes that join."""

import os
import subprocess
import sys
import time
from pathlib import Path

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
data: {{source: {data}, limit: 90, split: {{train: 0.6, validation: 0.2, test: 0.2}}}}
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
        self.path, self.cluster = path, cluster
        self.folder = SweepFolder(root=path / "sweep-results", sweep_id="spread-1")

    def start(self):
        self.log = (self.path / "log").open("w")
        self.process = subprocess.Popen(
            [sys.executable, "-c", "from sweeps.cli import main; main()", "run", "spread.yaml"],
            cwd=self.path, stdout=self.log, stderr=subprocess.STDOUT,
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

    def make(trials, data="shapes"):
        text = FILE.format(base=untrained_base, trials=trials, data=data)
        (tmp_path / "spread.yaml").write_text(text)
        made.append(Workplace(tmp_path, cluster))
        return made[-1]

    yield make
    for each in made:
        each.process.kill()
        each.process.wait()
        each.log.close()


def test_a_sweep_outlives_a_node_and_uses_one_that_joins(workplace, cluster):
    lost = [cluster.add_node(num_cpus=1) for _ in range(2)][1]
    place = workplace(trials=14)
    place.start()
    place.wait_for(lambda: len(place.trained()) == 3)
    cluster.remove_node(lost, allow_graceful=False)
    cluster.add_node(num_cpus=1)
    place.wait_for(lambda: "has left; its trials go on elsewhere" in place.output())
    assert place.process.wait(timeout=200) == 0, place.output()
    assert "has joined and takes trials" in place.output()
    found = place.runs()
    assert len(found) == 14
    # The lost one's trials have gone to another, and the one that joined has done some.
    assert {"host-0", "host-3"} <= {run.data.tags["host"] for run, _ in found}
    for run, steps in found:
        assert run.data.tags["trial.state"] == "completed", place.output()
        assert [step for step in steps if step] == [1, 2, 3, 4, 5, 6]
    for name in place.folder.trials():
        assert [each["rung"] for each in record.read(place.folder, name)] == [1, 2, 3, 4, 5, 6]


def test_a_node_that_reaches_no_shared_folder_is_named(workplace, cluster):
    """Its own disk is mounted where the others have the results."""
    place = workplace(trials=1)
    place.folder.root.mkdir()
    address = cluster.address
    script = f"mount -t tmpfs none {place.folder.root} && exec ray start --address={address}"
    far = subprocess.run(
        ["unshare", "--mount", "bash", "-c", f"{script} --num-cpus=1"],
        env={**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"},
        capture_output=True, text=True, timeout=100, check=False,
    )  # fmt: skip
    if "unshare failed" in far.stderr:
        pytest.skip("this user may not mount anything")
    assert far.returncode == 0, far.stderr
    place.start()
    assert place.process.wait(timeout=120) == 2, place.output()
    said = place.output()
    assert "cannot use" in said or "has another folder at" in said
    assert f"{place.folder.root}; every node must reach one shared folder there" in said
    assert "Traceback" not in said
