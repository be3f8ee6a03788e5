"""The hosts of one sweep: on every node that Ray has, and gone with the nodes that leave."""

import time
from collections import Counter
from collections.abc import Callable, Collection
from typing import Any

import ray

from sweeps import cluster, node_scorer
from sweeps.context import SweepContext
from sweeps.fleet import nodes as cluster_nodes
from sweeps.fleet.fleet import Room
from sweeps.fleet.nodes import Node
from sweeps.fleet.probe import SECONDS as PROBE_SECONDS
from sweeps.fleet.probe import Probe
from sweeps.fleet.starting import Host, start_fleet, start_host
from sweeps.storage.errors import StorageError
from workers.checkpoint_files import CheckpointFiles

LOOK_SECONDS = 2.0
"""How often the driver looks which nodes there are."""
_PATIENT_SECONDS = 120.0
"""A first start takes half of this where nothing has to be fetched."""


class Hosts:
    """Starts a sweep's hosts, follows the cluster, and tells the fleet's actor who is there.

    Args:
        context: the sweep.
        gpu: whether hosts train on GPUs.
        say: prints a line for whoever watches the driver.
    """

    def __init__(self, context: SweepContext, *, gpu: bool, say: Callable[[str], None]) -> None:
        self._context, self._gpu, self._say = context, gpu, say
        self._sweep_id = context.folder.sweep_id
        self._own = ray.get_runtime_context().get_node_id()
        self._probe = Probe(context.folder, context.sweep)
        self._hosts: list[Host] = []
        self._scorers: dict[str, Any] = {}
        """By the id of their node."""
        self._nodes: dict[str, Node] = {}
        """By id, every node that was alive when last looked at."""
        self._usable: dict[str, Node] = {}
        """Those of them that reach all that the sweep needs."""
        self._asked: dict[str, tuple[Any, float]] = {}
        """Id of a node that has joined -> its answer to the probe, and until when to wait."""
        self._started = 0
        """Hosts so far, also those that have left: no name is used twice."""
        self._looked = float("-inf")
        self._fleet = start_fleet(self._sweep_id)

    def start(self) -> list[str]:
        """Start the first hosts and wait for them; return what they have to say.

        Raises StorageError, naming every node that cannot reach storage, data or base; ValueError
        for more hosts than there is room for.
        """
        nodes = cluster_nodes.alive()
        problems = self._probe.problems([node for node in nodes if node.id != self._own])
        if problems:
            raise StorageError("\n".join(problems))
        cluster_nodes.refuse(self._context.sweep.resources, nodes, gpu=self._gpu)
        self._nodes = {node.id: node for node in nodes}
        self._usable = dict(self._nodes)
        self._begin()
        warming = [host.warming for host in self._hosts]
        ready, _ = ray.wait(warming, num_returns=len(warming), timeout=_PATIENT_SECONDS)
        if len(ready) < len(warming):
            self._say(
                f"{len(ready)} of {len(warming)} hosts are ready; the others still load the base, "
                "or wait for cores or GPUs that somebody else holds: see `ray status`"
            )
        said = cluster.results(warming)
        for host in self._hosts:
            self._welcome(host)
        return list(said[0])

    def base_files(self) -> CheckpointFiles | None:
        """Return what a host knows of the size of the base; None without GPUs, where all fits."""
        if not self._gpu:
            return None
        files: CheckpointFiles | None = ray.get(self._hosts[0].actor.files.remote())
        return files

    def slots(self) -> int:
        """Return how many trials may run at a time now, after a look at the cluster."""
        self.follow()
        return sum(self._slots(host) for host in self._hosts if host.ready)

    def follow(self) -> None:
        """Notice nodes that have left, and let those that have joined take part."""
        if time.monotonic() - self._looked < LOOK_SECONDS:
            return
        self._looked = time.monotonic()
        nodes = {node.id: node for node in cluster_nodes.alive()}
        for node in [node for id_, node in self._nodes.items() if id_ not in nodes]:
            self._lose(node)
        for node in [node for id_, node in nodes.items() if id_ not in self._nodes]:
            self._asked[node.id] = self._probe.begin(node), time.monotonic() + PROBE_SECONDS
        self._nodes = nodes
        self._admit()
        for host in [host for host in self._hosts if not host.ready]:
            self._greet(host)

    def retain(self, numbers: Collection[int]) -> None:
        """Free the slots of all but these trials."""
        self._fleet.retain.remote(frozenset(numbers))

    def stop(self) -> None:
        """Let hosts and scorers release what they hold, then end them."""
        cluster.stop([*(host.actor for host in self._hosts), *self._scorers.values()])
        ray.kill(self._fleet, no_restart=True)

    def _begin(self) -> None:
        """Start a scorer and hosts on those nodes that are to have some; waits for nothing."""
        held, nodes = Counter(host.node.id for host in self._hosts), list(self._usable.values())
        wanted = self._context.sweep.resources
        for node, plan in cluster_nodes.layouts(wanted, nodes, held, gpu=self._gpu):
            if node.id not in self._scorers:
                (self._scorers[node.id],) = node_scorer.start_scorers(self._sweep_id, [node.id])
            for _ in range(plan.hosts):
                self._hosts.append(start_host(self._context, self._started, node, plan))
                self._started += 1

    def _admit(self) -> None:
        """Start hosts on the nodes that have joined and reach all that they need."""
        for node_id, (answer, until) in list(self._asked.items()):
            ready, _ = ray.wait([answer], timeout=0)
            if not ready and time.monotonic() < until:
                continue
            del self._asked[node_id]
            problem = self._probe.problem(self._nodes[node_id], answer)
            if problem:
                self._say(f"{problem}; the sweep goes on without it")
            else:
                self._usable[node_id] = self._nodes[node_id]
                self._begin()

    def _greet(self, host: Host) -> None:
        """Let a host take trials once it is warm; one that cannot begin is given up."""
        ready, _ = ray.wait([host.warming], timeout=0)
        if not ready:
            return
        try:
            ray.get(host.warming)
        except ray.exceptions.RayError as error:
            why = str(getattr(error, "cause", None) or error).strip().splitlines()[-1]
            self._say(f"{host.node.name} takes no trials, its host could not begin: {why}")
            self._hosts.remove(host)
            cluster.stop([host.actor])
            return
        self._welcome(host)
        self._say(f"{host.node.name} has joined and takes trials")

    def _welcome(self, host: Host) -> None:
        gpu_bytes = ray.get(host.actor.gpu_bytes.remote()) if self._gpu else None
        room = Room(slots=self._slots(host), gpu_bytes=gpu_bytes)
        ray.get(self._fleet.add.remote(host.name, room))
        host.ready = True

    def _lose(self, node: Node) -> None:
        """Forget the hosts of a node that has left; their trials ask the fleet for others."""
        self._asked.pop(node.id, None)
        self._usable.pop(node.id, None)
        lost = [host for host in self._hosts if host.node.id == node.id]
        self._hosts = [host for host in self._hosts if host.node.id != node.id]
        ray.get([self._fleet.remove.remote(host.name) for host in lost])
        if node.id in self._scorers:
            ray.kill(self._scorers.pop(node.id), no_restart=True)  # else it moves to another node
        if lost:
            self._say(f"{node.name} has left; its trials go on elsewhere from their snapshots")
            self._begin()  # fewer hosts than the nodes have room for: others take their place

    def _slots(self, host: Host) -> int:
        slots = self._context.sweep.resources.slots
        return 1 if slots == "auto" else slots
