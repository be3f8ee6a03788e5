"""Nodes that die, and hosts that cannot begin, while a sweep loads its base on all of them."""

import os
from pathlib import Path

import psutil
import pytest

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[3]


def hosts_of(node):
    """Return the processes of the hosts on a node, whatever they are at."""
    (raylet,) = node.all_processes["raylet"]
    found = psutil.Process(raylet.process.pid).children(recursive=True)
    return [process for process in found if _title(process).startswith("ray::HostActor")]


def _title(process):
    """Return what a process calls itself; nothing for one that has just ended."""
    try:
        return " ".join(process.cmdline()[:1])
    except psutil.Error:
        return ""


def end(node):
    """Let a node die with all of its processes at once, as a machine does."""
    (raylet,) = node.all_processes["raylet"]
    processes = psutil.Process(raylet.process.pid).children(recursive=True)
    for process in [psutil.Process(raylet.process.pid), *processes]:
        process.kill()


def test_a_sweep_begins_without_a_node_that_dies_and_a_host_that_cannot(
    workplace, cluster, tmp_path
):
    """The host of the node that is left is killed while it begins, and is started again."""
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken/peft.py").write_text("raise ImportError('peft is not installed here')")
    path = os.pathsep.join([str(tmp_path / "broken"), str(ROOT)])
    cluster.add_node(num_cpus=1, env_vars={"PYTHONPATH": path})
    dying = cluster.add_node(num_cpus=1)
    place = workplace(cluster, trials=3)
    place.start()
    place.wait_for(lambda: hosts_of(cluster.head_node))
    hosts_of(cluster.head_node)[0].kill()
    place.wait_for(lambda: hosts_of(dying))
    end(dying)
    assert place.process.wait(timeout=200) == 0, place.output()
    said = place.output()
    assert said.count("could not start") == 1
    assert "takes no trials, its host could not start: ImportError: peft is not installed" in said
    assert f"node {dying.node_id[:8]}) has left\n" in said
    found = place.runs()
    assert [run.data.tags["trial.state"] for run, _ in found] == ["completed"] * 3
    assert len({run.data.tags["host"] for run, _ in found}) == 1


def test_a_sweep_that_no_host_can_begin_is_refused(workplace, make_cluster):
    cluster = make_cluster(0)
    dying = cluster.add_node(num_cpus=1)
    place = workplace(cluster, trials=1)
    place.start()
    place.wait_for(lambda: hosts_of(dying))
    end(dying)
    assert place.process.wait(timeout=120) == 2, place.output()
    said = place.output()
    assert "error: no host could start: every node that was to have one has left" in said
    assert "Traceback" not in said
