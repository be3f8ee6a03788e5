"""The nodes that Ray sees, and how many hosts each of them gets."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

from sweeps.capacity.layout import Layout, layout, most_hosts
from sweeps.spec.sweep import Resources


class FleetError(OSError):
    """The cluster cannot run the sweep as it stands: nothing was trained, a user can fix it."""


@dataclass(frozen=True, kw_only=True)
class Node:
    """One machine of the cluster, as Ray knows it."""

    id: str
    name: str
    """For people: host name, address and the beginning of the id."""
    cpus: int
    gpus: int
    bytes: float
    """Memory that was free when Ray began there."""


def alive() -> list[Node]:
    """Return the nodes that live, in the order in which Ray lists them."""
    import ray

    return [_node(found) for found in ray.nodes() if found["Alive"]]  # type: ignore[no-untyped-call]


Fitting = Callable[[float], int | None]
"""Bytes of a node without GPUs -> how many hosts fit into them; None where that is not known."""


def layouts(
    wanted: Resources, nodes: Sequence[Node], held: Mapping[str, int], *, gpu: bool,
    fitting: Fitting,
) -> list[tuple[Node, Layout]]:  # fmt: skip
    """Return which nodes get hosts now, each with its layout.

    Args:
        wanted: what the sweep asks for.
        nodes: all nodes that live.
        held: hosts that are there already, by the id of their node; such a node gets no more.
        gpu: whether hosts train on GPUs. Scores of a GPU and of a CPU are not compared.
        fitting: see `sweeps.capacity.memory`; asked of nodes without GPUs.
    """
    room = {node: _units(wanted, node, gpu=gpu) for node in nodes}
    if wanted.hosts == "auto":
        return [
            (node, _layout(wanted, node, "auto", gpu=gpu, fitting=fitting))
            for node in nodes
            if room[node] and node.id not in held
        ]
    free = {node: count for node, count in room.items() if node.id not in held}
    counts = _spread(wanted.hosts - sum(held.values()), free)
    return [
        (node, _layout(wanted, node, count, gpu=gpu, fitting=fitting))
        for node, count in counts.items()
        if count
    ]


def refuse(wanted: Resources, nodes: Sequence[Node], *, gpu: bool) -> None:
    """Raise ValueError, naming ``resources.hosts``, when there is no room for so many."""
    room = sum(_units(wanted, node, gpu=gpu) for node in nodes)
    if room == 0 or (wanted.hosts != "auto" and room < wanted.hosts):
        kind = "shares of a GPU" if gpu else "cores"
        raise ValueError(
            f"resources.hosts must be at most the {room} {kind} of the cluster's {len(nodes)} "
            f"nodes, got {wanted.hosts}"
        )


def _spread(hosts: int, room: Mapping[Node, int]) -> dict[Node, int]:
    """Divide hosts over nodes: a round of one for each, as long as there is room."""
    rounds = range(max(room.values(), default=0))
    turns = (node for turn in rounds for node, units in room.items() if turn < units)
    counts = dict.fromkeys(room, 0)
    for node in islice(turns, max(0, hosts)):
        counts[node] += 1
    return counts


def _units(wanted: Resources, node: Node, *, gpu: bool) -> int:
    """Return the most hosts that a node may have."""
    return most_hosts(0 if gpu else node.cpus, node.gpus if gpu else 0, wanted.gpus_per_host)


def _layout(wanted: Resources, node: Node, hosts: Any, *, gpu: bool, fitting: Fitting) -> Layout:
    return layout(
        hosts, wanted.slots, cpus=node.cpus, gpus=node.gpus if gpu else 0,
        gpus_per_host=wanted.gpus_per_host, fitting=None if gpu else fitting(node.bytes),
    )  # fmt: skip


def _node(found: Mapping[str, Any]) -> Node:
    short = found["NodeID"][:8]
    name = f"{found['NodeManagerHostname']} ({found['NodeManagerAddress']}, node {short})"
    resources = found["Resources"]
    kept = (resources.get(part, 0.0) for part in ("memory", "object_store_memory"))
    return Node(
        id=found["NodeID"], name=name, cpus=int(resources.get("CPU", 0)),
        gpus=int(resources.get("GPU", 0)), bytes=sum(kept),
    )  # fmt: skip
