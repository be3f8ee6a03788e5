"""The nodes that Ray sees, and how many hosts each of them gets."""

from collections import Counter
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
    """Memory that was free when Ray started there."""


def alive() -> list[Node]:
    """Return the nodes that live, in the order in which Ray lists them."""
    import ray

    found: list[dict[str, Any]] = ray.nodes()  # type: ignore[no-untyped-call]
    return [
        Node(
            id=node["NodeID"],
            name=f"{node['NodeManagerHostname']} ({node['NodeManagerAddress']}, "
            f"node {node['NodeID'][:8]})",
            cpus=int(node["Resources"].get("CPU", 0)),
            gpus=int(node["Resources"].get("GPU", 0)),
            bytes=sum(
                node["Resources"].get(part, 0.0) for part in ("memory", "object_store_memory")
            ),
        )
        for node in found
        if node["Alive"]
    ]


def layouts(
    wanted: Resources,
    nodes: Sequence[Node],
    held: Mapping[str, int],
    *,
    gpu: bool,
    fitting: Callable[[float], int | None],
) -> list[tuple[Node, Layout]]:
    """Return which nodes get hosts now, each with its layout.

    Args:
        wanted: resources that the sweep file asks for.
        nodes: all nodes that live.
        held: hosts that are there already, by the id of their node; such a node gets no more.
        gpu: whether hosts train on GPUs. Scores of a GPU and of a CPU are not compared.
        fitting: bytes of a node without GPUs -> how many hosts fit into them, None if unknown.
    """
    room = {node: _units(wanted, node, gpu=gpu) for node in nodes if node.id not in held}
    counts: Mapping[Node, Any] = {node: "auto" for node in room if room[node]}
    if wanted.hosts != "auto":  # a round of one host for each node, as long as there is room
        rounds = range(max(room.values(), default=0))
        turns = (node for turn in rounds for node, units in room.items() if turn < units)
        counts = Counter(islice(turns, max(0, wanted.hosts - sum(held.values()))))
    return [
        (
            node,
            layout(
                count,
                wanted.slots,
                cpus=node.cpus,
                gpus=node.gpus if gpu else 0,
                gpus_per_host=wanted.gpus_per_host,
                fitting=None if gpu else fitting(node.bytes),
            ),
        )
        for node, count in counts.items()
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


def _units(wanted: Resources, node: Node, *, gpu: bool) -> int:
    """Return the most hosts that a node may have."""
    return most_hosts(0 if gpu else node.cpus, node.gpus if gpu else 0, wanted.gpus_per_host)
