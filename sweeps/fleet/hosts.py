"""The hosts of one sweep: on every node that Ray has, and gone with the nodes that leave."""

import threading
import time
from collections import Counter
from collections.abc import Callable, Collection
from contextlib import suppress
from functools import partial
from typing import Any

import ray

from sweeps.capacity.memory import Needs
from sweeps.capacity.sharing import hosts_that_fit
from sweeps.fleet import cluster, measuring, scorer
from sweeps.fleet import nodes as cluster_nodes
from sweeps.fleet.membership import Membership
from sweeps.fleet.nodes import FleetError, Node
from sweeps.fleet.probe import Probe
from sweeps.fleet.starting import HostHandle, died, reason, start_fleet, start_host
from sweeps.host.context import SweepContext
from workers.memory.footprint import Correction, largest

LOOK_SECONDS = 2.0
"""How often the driver looks which nodes there are."""
_PATIENT_SECONDS = 120.0
"""A first start takes half of this where nothing has to be fetched."""
_LOST_SECONDS = 60.0
"""So long after a host's first death it is begun again: Ray restarts it, or its node has left."""
_PAUSE_SECONDS = 0.5
HURRY_SECONDS = 2.0
"""So long a host may still work when somebody stops its sweep, which is to end within ten."""
_CALM_SECONDS = 30.0
"""So long it may still write when all trials have ended."""
_SCORER_SECONDS = 1.0


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
        self._members = Membership(Probe(context.folder, context.sweep), say)
        self._hosts: list[HostHandle] = []
        self._scorers: dict[str, Any] = {}
        """By the id of their node."""
        self._started = 0
        """Hosts so far, also those that have left: no name is used twice."""
        self._failed: list[tuple[HostHandle, Exception]] = []
        """Hosts that could not begin, and why, until that is said."""
        self._began = False
        """Whether the first hosts take trials."""
        self._looked = float("-inf")
        self._fleet = start_fleet(self._sweep_id)
        self._ending = threading.Lock()
        """Held while somebody ends the hosts, or follows the cluster."""
        self._ended = False

    def start(self) -> list[str]:
        """Start the first hosts and wait for them; return what they have to say.

        Nodes that die meanwhile and hosts that cannot begin are left out. Raises StorageError,
        naming every node that does not reach storage, data or base; FleetError when no host is
        left; ValueError for more hosts than there is room for; what a user can fix as a host
        does.
        """
        self._members.begin()
        wanted = self._context.sweep.resources
        cluster_nodes.refuse(wanted, self._members.usable, gpu=self._gpu)
        self._begin()
        self._await_first()
        self._began = True
        return self._hosts[0].said

    def needs(self) -> Needs | None:
        """Return what trials need, as the hosts know it; None without GPUs, where all fits."""
        known = next((host.known for host in self._hosts if host.known), None)
        if not (self._gpu and known):
            return None
        return Needs(self._context.sweep, known.bases, self._measured)

    def largest_gpu(self) -> float:
        """Return the most memory that a host has of a GPU now; 0 where nothing is known."""
        return max((host.gpu_bytes or 0.0 for host in self._hosts if host.ready), default=0.0)

    def slots(self) -> int:
        """Return how many trials may run at a time now, after a look at the cluster."""
        self.follow()
        return sum(host.slots for host in self._hosts if host.ready)

    def follow(self) -> None:
        """Notice nodes that have left, and let those that have joined take part."""
        if time.monotonic() - self._looked >= LOOK_SECONDS:
            with self._ending:
                if not self._ended:  # else a node that joins would get hosts that nobody ends
                    self._look()

    def retain(self, numbers: Collection[int]) -> None:
        """Free the slots of all but these trials."""
        self._fleet.retain.remote(frozenset(numbers))

    def stop(self, seconds: float = _CALM_SECONDS) -> None:
        """Let hosts and scorers release what they hold, for so long at most, then end them.

        Safe to call again, and from another thread, which has to wait for the first one.
        """
        with self._ending:
            self._ended = True
            hosts, self._hosts = self._hosts, []
            cluster.stop([host.actor for host in hosts], seconds)
            scorers, self._scorers = self._scorers, {}
            cluster.stop(list(scorers.values()), _SCORER_SECONDS)
            ray.kill(self._fleet, no_restart=True)  # trials that wait for a host give up

    def _await_first(self) -> None:
        """Wait until each host takes trials or is given up; if none is left, for a node to join."""
        patience = time.monotonic() + _PATIENT_SECONDS
        while calls := self._warming() or ([] if self._hosts else self._members.awaited):
            ray.wait(calls, num_returns=len(calls), timeout=LOOK_SECONDS)
            self._look()
            if self._warming():
                time.sleep(_PAUSE_SECONDS)
            if time.monotonic() > patience:
                patience = float("inf")
                self._say(
                    f"{sum(host.ready for host in self._hosts)} of {len(self._hosts)} hosts are "
                    "ready; the others still load the base, or wait for cores or GPUs that "
                    "somebody else holds: see `ray status`"
                )
        if not self._hosts:
            self._refuse()

    def _warming(self) -> list[Any]:
        return [host.warming for host in self._hosts if not host.ready]

    def _look(self) -> None:
        """See who has left, who has joined, and which hosts are warm by now."""
        self._looked = time.monotonic()
        left, joined = self._members.look()
        for node in left:
            self._lose(node)
        if joined:
            self._begin()
        for host in [host for host in self._hosts if not host.ready]:
            self._greet(host)
        for host in self._hosts if self._gpu else ():
            if host.ready and measuring.has_changed(host):
                self._offer(host)
        if self._hosts or self._began:  # else the sweep ends, and says why
            for host, error in self._failed:
                self._say(
                    f"{host.node.name} takes no trials, its host could not begin: {reason(error)}"
                )
            self._failed.clear()

    def _begin(self) -> None:
        """Start a scorer and hosts on those nodes that are to have some; waits for nothing."""
        held, nodes = Counter(host.node.id for host in self._hosts), self._members.usable
        sweep = self._context.sweep
        fitting = partial(hosts_that_fit, sweep)
        for node, plan in cluster_nodes.layouts(
            sweep.resources, nodes, held, gpu=self._gpu, fitting=fitting
        ):
            if node.id not in self._scorers:
                (self._scorers[node.id],) = scorer.start_scorers(self._sweep_id, [node.id])
            for _ in range(plan.hosts):
                self._hosts.append(start_host(self._context, self._started, node, plan))
                self._started += 1

    def _greet(self, host: HostHandle) -> None:
        """Let a host take trials once it is warm; one that cannot begin is given up."""
        ready, _ = ray.wait([host.warming], timeout=0)
        if not ready:
            return
        try:
            host.said = ray.get(host.warming)
            host.known = measuring.known(host)
        except ray.exceptions.RayError as error:
            if died(error) and host.is_worth_a_try(_LOST_SECONDS):
                host.begin()
            else:
                self._give_up(host, error)
            return
        self._offer(host)
        host.ready = True
        if self._began:
            self._say(f"{host.node.name} has joined and takes trials")

    def _give_up(self, host: HostHandle, error: Exception) -> None:
        """Go on without a host; what takes its place is started on another node."""
        ray.kill(host.actor, no_restart=True)
        self._hosts.remove(host)
        self._failed.append((host, error))
        self._members.refuse(host.node)
        self._begin()

    def _refuse(self) -> None:
        """Raise why no host could begin."""
        for host, _ in self._failed:
            with suppress(ray.exceptions.RayActorError):
                cluster.results([host.warming])
        told = [f"{host.node.name}: {reason(error)}" for host, error in self._failed]
        because = "; ".join(told) or "every node that was to have one has left"
        raise FleetError(f"no host could begin: {because}; see `ray status`")

    def _lose(self, node: Node) -> None:
        """Forget the hosts of a node that has left; their trials ask the fleet for others."""
        lost = [host for host in self._hosts if host.node.id == node.id]
        self._hosts = [host for host in self._hosts if host.node.id != node.id]
        ray.get([self._fleet.remove.remote(host.name) for host in lost])
        if node.id in self._scorers:
            ray.kill(self._scorers.pop(node.id), no_restart=True)  # else it moves to another node
        if lost:
            trials = "; its trials go on elsewhere from their snapshots" if self._began else ""
            self._say(f"{node.name} has left{trials}")
            self._begin()  # fewer hosts than the nodes have room for: others take their place

    def _offer(self, host: HostHandle) -> None:
        """Say what a host has to offer now; trials that it has stay where they are."""
        room = measuring.room(self._context.sweep, host, gpu=self._gpu)
        host.slots, host.gpu_bytes = room.slots, room.gpu_bytes
        ray.get(self._fleet.add.remote(host.name, room))

    def _measured(self) -> Correction:
        return largest(host.known.correction for host in self._hosts if host.known)
