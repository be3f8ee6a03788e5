"""The quick start, submitted to a cluster of nodes that `ray start` began, of which one dies."""

import io
import subprocess
import sys
import time

import pytest
from rich.console import Console

from benchmarks import clusters
from sweeps.doctor.checkup import AGREED, compare_records
from sweeps.results import inbox, record
from sweeps.results.folder import SweepFolder
from sweeps.tracking.client import Tracking
from sweeps.tracking.sweep_run import SweepRun

pytestmark = pytest.mark.slow

TRIALS = 10
LESS = ("--set", f"search.trials={TRIALS}", "--set", "evaluate.metrics=[cider]",
        "--set", "promote=null", "--set", "resources.slots=1")  # fmt: skip
LONGEST_SECONDS = 240.0


@pytest.fixture
def cluster(tmp_path):
    """A head and two more nodes, and the first of the two."""
    with clusters.local_cluster(tmp_path) as made:
        lost = made.add()
        made.add()
        yield made, lost


@pytest.fixture
def client(cluster, tmp_path):
    """The process of `sweeps submit quickstart`, which writes into the file `log`."""
    send = ("submit", "quickstart", *LESS, "--address", cluster[0].dashboard,
            "--results", str(tmp_path / "results"))  # fmt: skip
    with (tmp_path / "log").open("w") as log:
        process = subprocess.Popen(
            [sys.executable, "-c", "from sweeps.cli.app import main; main()", *send],
            cwd=tmp_path, stdout=log, stderr=subprocess.STDOUT, env=clusters.environment(),
        )  # fmt: skip
    yield process
    process.kill()
    process.wait()


def tracked(root):
    """Return each trial's run in MLflow with the rungs that it reported, the baseline left out."""
    found = Tracking(uri=None, experiment="quickstart", root=root)
    parent = SweepRun.find(found, "quickstart-1")
    history = parent.client.get_metric_history
    return [
        (run, [point.step for point in history(run.info.run_id, "val/cider") if point.step])
        for run in parent.trials()
    ]


def hosts_of(trials):
    """Return the hosts of trials that have reported a rung."""
    return {run.data.tags["host"] for run, rungs in trials if rungs}


def test_a_node_dies_another_joins_and_every_rung_is_there_once(cluster, client, tmp_path):
    nodes, lost = cluster
    root = tmp_path / "results"
    folder = SweepFolder(root=root, sweep_id="quickstart-1")
    deadline = time.monotonic() + LONGEST_SECONDS

    def said():
        return (tmp_path / "log").read_text()

    def wait_for(true):
        while not true():
            assert time.monotonic() < deadline, said()
            assert client.poll() is None, said()
            time.sleep(0.5)

    wait_for(lambda: len(folder.trials()) > 2 and len(hosts_of(tracked(root))) == 3)
    clusters.kill(lost)
    inbox.pause(folder)  # lest the sweep end before the new node has loaded the base
    nodes.add()
    wait_for(lambda: "has joined and takes trials" in said())
    inbox.unpause(folder)
    assert client.wait(timeout=LONGEST_SECONDS) == 0, said()

    assert "(127.0.0.2, node " in said()
    assert "has left; its trials resume elsewhere from their snapshots" in said()
    trials = tracked(root)
    assert len(trials) == TRIALS
    states = {run.data.tags["trial.state"] for run, _ in trials}
    assert states <= {"completed", "stopped", "failed-by-guard"}, said()
    assert "host-3" in hosts_of(trials)  # the one that joined
    for run, rungs in trials:
        name = run.data.tags["trial.id"]
        recorded = [each.rung for each in record.read(folder, name)]
        assert rungs == recorded == list(range(1, len(rungs) + 1)), name
    console = Console(file=io.StringIO(), width=200)
    assert compare_records("quickstart-1", root, console) == AGREED, console.file.getvalue()
