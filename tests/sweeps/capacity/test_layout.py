import os

import pytest

from sweeps.capacity.layout import (
    CORES_PER_HOST,
    Layout,
    layout,
    local_cpus,
    local_gpus,
    refuse_missing_gpus,
)
from sweeps.spec.load import parse


@pytest.mark.parametrize(
    ("cpus", "gpus", "hosts", "threads"),
    [
        (1, 0, 1, 1),
        (2, 0, 2, 1),
        (CORES_PER_HOST, 0, 2, CORES_PER_HOST // 2),
        (CORES_PER_HOST * 3, 0, 3, CORES_PER_HOST),
        (CORES_PER_HOST * 3 - 1, 0, 2, (CORES_PER_HOST * 3 - 1) // 2),
        (16, 1, 1, 16),
        (16, 8, 8, 2),
        (4, 8, 8, 1),
    ],
)
def test_auto_is_a_host_per_gpu_or_else_per_few_cores(cpus, gpus, hosts, threads):
    plan = layout("auto", "auto", cpus=cpus, gpus=gpus, fitting=100)
    assert (plan.hosts, plan.slots, plan.threads) == (hosts, 1, threads)
    assert plan.gpus_per_host == (1 if gpus else 0)


@pytest.mark.parametrize(
    ("cpus", "fitting", "hosts"),
    [(2, 1, 1), (2, 0, 1), (64, 3, 3), (2, None, 1), (64, None, 64 // CORES_PER_HOST)],
)
def test_memory_limits_the_hosts_of_auto_without_gpus(cpus, fitting, hosts):
    assert layout("auto", "auto", cpus=cpus, gpus=0, fitting=fitting).hosts == hosts
    assert layout("auto", "auto", cpus=cpus, gpus=2, fitting=fitting).hosts == 2
    assert layout(2, "auto", cpus=cpus, gpus=0, fitting=fitting).hosts == 2


@pytest.mark.parametrize(("cpus", "gpus", "hosts"), [(1, 0, 1), (7, 0, 3), (16, 8, "auto")])
def test_hosts_leave_a_crumb_of_the_cores_for_others(cpus, gpus, hosts):
    plan = layout(hosts, 2, cpus=cpus, gpus=gpus)
    needed = plan.hosts * plan.cpus_per_host + plan.concurrent_trials * 0.001
    assert 0.5 * cpus < needed < cpus


def test_hosts_and_slots_can_be_given():
    plan = layout(2, 3, cpus=8, gpus=0)
    assert plan == Layout(hosts=2, slots=3, gpus_per_host=0, cpus_per_host=8 / 2 * 0.9, threads=4)
    assert plan.concurrent_trials == 6
    assert layout(2, "auto", cpus=8, gpus=4).hosts == 2


@pytest.mark.parametrize(
    ("cpus", "gpus", "reason"),
    [
        (4, 0, r"resources\.hosts must be at most the 4 cores, got 5"),
        (64, 4, r"resources\.hosts must be at most the 4 GPUs, got 5"),
    ],
)
def test_more_hosts_than_there_is_room_for_are_refused(cpus, gpus, reason):
    assert layout(4, 1, cpus=cpus, gpus=gpus).hosts == 4
    with pytest.raises(ValueError, match=reason):
        layout(5, 1, cpus=cpus, gpus=gpus)


def test_cores_are_those_of_this_process():
    assert 1 <= local_cpus() <= os.cpu_count()


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="needs Linux")
def test_a_process_bound_to_a_core_has_one():
    before = os.sched_getaffinity(0)
    try:
        os.sched_setaffinity(0, {min(before)})
        assert local_cpus() == 1
    finally:
        os.sched_setaffinity(0, before)


@pytest.mark.parametrize(
    ("visible", "count"), [("", 0), ("-1", 0), ("0", 1), ("0, 3", 2), ("GPU-1a,GPU-2b,", 2)]
)
def test_visible_gpus_are_counted(visible, count, monkeypatch, tmp_path):
    for name in ("nvidia0", "nvidia1", "nvidia2", "nvidia3", "nvidiactl"):
        (tmp_path / name).touch()
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    assert local_gpus(tmp_path) == count
    assert local_gpus(tmp_path / "none") == 0
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES")
    assert local_gpus(tmp_path) == 4


def test_a_sweep_that_wants_a_gpu_is_refused_without_one():
    on_cpu, on_gpu = layout("auto", 1, cpus=8, gpus=0), layout("auto", 1, cpus=8, gpus=1)
    anywhere = parse("name: s\nmodel: {base: tiny:shapes}\ndata: {source: shapes}")
    resources = anywhere.resources.model_copy(update={"device": "gpu"})
    wants_gpu = anywhere.model_copy(update={"resources": resources})
    refuse_missing_gpus(anywhere, on_cpu)
    refuse_missing_gpus(wants_gpu, on_gpu)
    with pytest.raises(ValueError, match=r"resources\.device: wants a GPU, and there is none"):
        refuse_missing_gpus(wants_gpu, on_cpu)


def test_hosts_may_share_gpus():
    plan = layout("auto", 1, cpus=8, gpus=2, gpus_per_host=0.5)
    assert (plan.hosts, plan.gpus_per_host) == (4, 0.5)
    assert layout("auto", 1, cpus=8, gpus=2, gpus_per_host=0.4).hosts == 4
    assert layout("auto", 1, cpus=8, gpus=0, gpus_per_host=0.5).gpus_per_host == 0
    with pytest.raises(ValueError, match="at most the 4 shares of a GPU, got 5"):
        layout(5, 1, cpus=8, gpus=2, gpus_per_host=0.5)
