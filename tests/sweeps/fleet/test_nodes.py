import pytest

from sweeps.fleet.nodes import Node, layouts, refuse
from sweeps.spec.sweep import Resources

GB = 1e9


def node(name, cpus=8, gpus=0, gb=16):
    return Node(id=name, name=name, cpus=cpus, gpus=gpus, bytes=gb * GB)


def fitting(room):
    """Say that a host takes 8 GB."""
    return int(room / (8 * GB))


def counts(wanted, nodes, held=None, gpu=False):
    found = layouts(Resources.model_validate(wanted), nodes, held or {}, gpu=gpu, fitting=fitting)
    return {at.id: plan.hosts for at, plan in found}


def test_auto_is_a_host_per_gpu_on_every_node():
    nodes = [node("head", gpus=0), node("big", gpus=8), node("small", gpus=1)]
    assert counts({}, nodes, gpu=True) == {"big": 8, "small": 1}


def test_auto_is_a_host_per_core_group_without_gpus():
    nodes = [node("a", 16, gb=64), node("b", 3), node("one", 1), node("none", 0)]
    assert counts({}, nodes) == {"a": 4, "b": 2, "one": 1}


def test_a_node_gets_no_more_hosts_than_its_memory_holds_unless_the_file_says_so():
    assert counts({}, [node("a", 16, gb=24), node("b", 2, gb=12), node("c", 2, gb=4)]) == {
        "a": 3, "b": 1, "c": 1,
    }  # fmt: skip
    assert counts({"hosts": 2}, [node("a", 2, gb=4)]) == {"a": 2}
    assert counts({}, [node("a", 2, gpus=4, gb=4)], gpu=True) == {"a": 4}


def test_shares_of_a_gpu_lie_on_one_gpu_each():
    found = layouts(
        Resources(gpus_per_host=0.4), [node("a", gpus=2)], {}, gpu=True, fitting=fitting
    )
    ((_, plan),) = found
    assert (plan.hosts, plan.gpus_per_host) == (4, 0.4)


def test_a_given_number_of_hosts_is_divided_over_the_nodes():
    nodes = [node("a", 2), node("b", 4), node("c", 1)]
    assert counts({"hosts": 4}, nodes) == {"a": 2, "b": 1, "c": 1}
    assert counts({"hosts": 2}, nodes) == {"a": 1, "b": 1}
    assert counts({"hosts": 7}, nodes) == {"a": 2, "b": 4, "c": 1}


def test_each_node_has_the_layout_of_its_own_size():
    nodes = [node("a", 4), node("b", 16, gb=64)]
    layout = layouts(Resources(), nodes, {}, gpu=False, fitting=fitting)
    found = {at.id: plan for at, plan in layout}
    assert (found["a"].hosts, found["a"].threads) == (2, 2)
    assert (found["b"].hosts, found["b"].threads) == (4, 4)


def test_a_node_that_joins_gets_hosts_and_those_that_have_some_get_no_more():
    nodes = [node("a", 4), node("new", 4)]
    assert counts({}, nodes, held={"a": 2}) == {"new": 2}
    assert counts({"hosts": 1}, nodes, held={"a": 1}) == {}
    assert counts({"hosts": 2}, nodes, held={"a": 1}) == {"new": 1}


def test_a_lost_node_is_made_up_for_where_there_is_room():
    b, c = node("b", 4), node("c", 4)
    assert counts({"hosts": 2}, [b, c], held={"b": 1}) == {"c": 1}
    assert counts({"hosts": 2}, [b], held={"b": 1}) == {}  # its cores are taken


def test_nodes_with_different_gpus_are_shared_alike():
    nodes = [node("a", gpus=1), node("b", gpus=4)]
    found = layouts(Resources(gpus_per_host=0.5), nodes, {}, gpu=True, fitting=fitting)
    assert [(at.id, plan.hosts, plan.gpus_per_host) for at, plan in found] == [
        ("a", 2, 0.5), ("b", 8, 0.5),
    ]  # fmt: skip
    assert [plan.cpus_per_host for _, plan in found] == [pytest.approx(3.6), pytest.approx(0.9)]


def test_a_node_without_gpu_joins_no_sweep_on_gpus():
    assert counts({}, [node("a", gpus=1), node("cpu")], held={"a": 1}, gpu=True) == {}


@pytest.mark.parametrize(
    ("wanted", "gpu", "reason"),
    [
        ({"hosts": 7}, False, r"resources\.hosts must be at most the 6 cores .* 2 nodes, got 7"),
        ({"hosts": 4}, True, r"at most the 3 shares of a GPU .* got 4"),
    ],
)
def test_more_hosts_than_the_cluster_has_room_for_are_refused(wanted, gpu, reason):
    nodes = [node("a", 2, gpus=1), node("b", 4, gpus=2)]
    refuse(Resources.model_validate({**wanted, "hosts": wanted["hosts"] - 1}), nodes, gpu=gpu)
    with pytest.raises(ValueError, match=reason):
        refuse(Resources.model_validate(wanted), nodes, gpu=gpu)


def test_a_cluster_without_any_room_is_refused():
    with pytest.raises(ValueError, match="at most the 0 cores"):
        refuse(Resources(), [node("head", 0)], gpu=False)


@pytest.mark.parametrize("share", [0.0, 1.5])
def test_a_host_gets_a_share_of_one_gpu(share):
    with pytest.raises(ValueError, match="gpus_per_host"):
        Resources(gpus_per_host=share)
