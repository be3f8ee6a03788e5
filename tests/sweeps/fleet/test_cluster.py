"""Sweeps on clusters of several nodes on this machine: nodes that die, and nodes that join.

A sweep that trains on while one of its nodes dies and another joins is in `test_submitted_nodes`.
"""

import os
import subprocess
import sys
import time

import pytest

from sweeps.results import record

pytestmark = pytest.mark.slow


def assert_whole(place, runs):
    """Assert that every trial did each rung, and that MLflow and its record have it once."""
    for run, steps in runs:
        assert run.data.tags["trial.state"] == "completed", place.output()
        assert [step for step in steps if step] == [1, 2, 3, 4, 5, 6]
    for name in place.folder.trials():
        assert [each.rung for each in record.read(place.folder, name)] == [1, 2, 3, 4, 5, 6]


def test_a_sweep_without_any_node_waits_for_one(workplace, make_cluster):
    cluster = make_cluster(0)
    lost = cluster.add_node(num_cpus=1)
    place = workplace(cluster, trials=2)
    place.start()
    place.wait_for(place.trained)
    cluster.remove_node(lost, allow_graceful=False)
    place.wait_for(lambda: "has left; its trials resume elsewhere" in place.output())
    cluster.add_node(num_cpus=1)
    assert place.process.wait(timeout=200) == 0, place.output()
    assert "has joined and takes trials" in place.output()
    found = place.runs()
    assert len(found) == 2
    assert "host-1" in {run.data.tags["host"] for run, _ in found}
    assert_whole(place, found)


def test_a_population_outlives_a_node(workplace, cluster):
    lost = cluster.add_node(num_cpus=1)
    schedule = "name: pbt, options: {perturbation_interval: 2}"
    place = workplace(cluster, trials=4, schedule=schedule)
    place.start()
    place.wait_for(lambda: len(place.trained()) >= 2)
    cluster.remove_node(lost, allow_graceful=False)
    assert place.process.wait(timeout=240) == 0, place.output()
    assert "has left; its trials resume elsewhere" in place.output()
    found = place.runs()
    assert len(found) == 4
    assert_whole(place, found)
    assert place.folder.population.read_text().count("donor") >= 1


def test_hosts_share_a_gpu_and_leave_nodes_without_one_alone(workplace, cluster):
    cluster.add_node(num_cpus=2, num_gpus=1)
    place = workplace(cluster, trials=4, resources="gpus_per_host: 0.5")
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


def test_a_node_that_reaches_no_shared_folder_is_named(workplace, cluster, far_node):
    place = workplace(cluster, trials=1)
    place.folder.root.mkdir()
    far_node(place.folder.root)
    place.start()
    assert place.process.wait(timeout=120) == 2, place.output()
    said = place.output()
    assert f"cannot use {place.folder.root}: FileNotFoundError" in said
    assert "every node must reach one shared folder there: name one with --results" in said
    assert "Traceback" not in said
