"""The hosts of one sweep: on every node that Ray has, gone with nodes that leave and at its end."""

import signal
import threading
import time
from collections import Counter
from collections.abc import Callable, Collection, Sequence
from functools import partial
from types import FrameType
from typing import Any

import ray
from ray import tune
from ray.tune.experiment import Trial

from sweeps.capacity.memory import Needs, hosts_that_fit
from sweeps.fleet import cluster, scorer
from sweeps.fleet import nodes as cluster_nodes
from sweeps.fleet.nodes import FleetError, Node
from sweeps.fleet.probe import Membership, Probe
from sweeps.fleet.starting import HostHandle, died, reason, start_fleet, start_host
from sweeps.host.context import SweepContext
from workers.memory.footprint import largest

LOOK_SECONDS = 2.0
"""How often the driver looks which nodes there are."""
_PATIENT_SECONDS = 120.0
"""A first start takes half of this where nothing has to be fetched."""
_LOST_SECONDS = 60.0
"""So long after a host's first death it is started again: Ray restarts it, or its node has left."""
_PAUSE_SECONDS = 0.5
_IMAGES_SECONDS = 5.0
"""Between two lines that say how many images are prepared."""
INTERRUPTED_SECONDS = 2.0
"""So long a host may still work when its sweep is stopped, which is to end within ten."""
_CALM_SECONDS = 30.0
"""So long it may still write when all trials have ended."""
_SCORER_SECONDS = 1.0
RETAIN_SECONDS = 10.0


class Hosts:
    """Starts a sweep's hosts, follows the cluster, and keeps the fleet's actor up to date.

    With `gpu`, hosts train on GPUs; `notify` prints a line for the user of the driver.
    """

    def __init__(self, context: SweepContext, *, gpu: bool, notify: Callable[[str], None]) -> None:
        self.context, self._gpu, self._notify = context, gpu, notify
        self._sweep_id = context.folder.sweep_id
        self._members = Membership(Probe(context.folder, context.sweep), notify)
        self._hosts: list[HostHandle] = []
        self._scorers: dict[str, Any] = {}
        """By the id of their node."""
        self._started = 0
        """Hosts so far, also those that have left: no name is used twice."""
        self._failed: list[tuple[HostHandle, Exception]] = []
        """Hosts that could not start, and why, until that is reported."""
        self._began = False
        """Whether the first hosts take trials."""
        self._looked = self._shown = float("-inf")
        self._fleet = start_fleet(self._sweep_id)
        self._ending = threading.Lock()
        """Held while a thread ends the hosts, or follows the cluster."""
        self._ended = False

    def begin(self) -> None:
        """Begin to start the first hosts; `wait` waits for them.

        Raises StorageError, naming every node that does not reach storage, data or base, and
        ValueError for more hosts than there is room for.
        """
        self._members.begin()
        wanted = self.context.sweep.resources
        cluster_nodes.refuse(wanted, self._members.usable, gpu=self._gpu)
        self._begin()
        count = len(self._hosts)
        self._notify(f"starting {count} host{'s' * (count != 1)} and loading the base")

    def wait(self) -> list[str]:
        """Wait for the first hosts, and return their messages for the user.

        Nodes that die meanwhile and hosts that cannot start are left out. Raises FleetError when
        no host is left; what a user can fix as a host does.
        """
        patience = time.monotonic() + _PATIENT_SECONDS
        # Each host takes trials or is given up; if none is left, a node that joins may bring one.
        while calls := self._warming() or ([] if self._hosts else self._members.awaited):
            ray.wait(calls, num_returns=len(calls), timeout=LOOK_SECONDS)
            self._look()
            if self._warming():
                self._show_images()
                time.sleep(_PAUSE_SECONDS)
            if time.monotonic() > patience:
                patience = float("inf")
                self._notify(
                    f"{sum(host.room is not None for host in self._hosts)} of {len(self._hosts)} "
                    "hosts are ready; the others still load the base, or wait for cores or GPUs "
                    "that another job holds: see `ray status`"
                )
        if not self._hosts:
            self._refuse()
        self._began = True
        return self._hosts[0].messages

    def needs(self) -> Needs | None:
        """Return what trials need, as the hosts know it; None without GPUs, where all fits."""
        bases = next((host.bases for host in self._hosts if host.bases is not None), None)
        if not self._gpu or bases is None:
            return None
        return Needs(
            self.context.sweep, bases, lambda: largest(host.correction for host in self._hosts)
        )

    def largest_gpu(self) -> float:
        """Return the most memory that a host has of a GPU now; 0 where nothing is known."""
        return max((host.room.gpu_bytes or 0.0 for host in self._hosts if host.room), default=0.0)

    def slots(self) -> int:
        """Return how many trials may run at a time now, after a look at the cluster."""
        self.follow()
        return sum(host.room.slots for host in self._hosts if host.room)

    def follow(self) -> None:
        """Notice nodes that have left, and let those that have joined take part."""
        if time.monotonic() - self._looked >= LOOK_SECONDS:
            with self._ending:
                if not self._ended:  # else a node that joins would get hosts that are never ended
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

    def _warming(self) -> list[Any]:
        return [host.warming for host in self._hosts if not host.room]

    def _show_images(self) -> None:
        """Tell the user, now and then, how far the slowest host is with images on its GPU."""
        if not self._gpu or time.monotonic() - self._shown < _IMAGES_SECONDS:
            return
        warming = (host.images_prepared() for host in self._hosts if not host.room)
        under_way = [(done, count) for done, count in warming if done < count]
        if under_way:
            self._shown = time.monotonic()
            done, count = min(under_way)
            self._notify(f"images: {done:,} of {count:,} are prepared")

    def _look(self) -> None:
        """See which nodes have left or joined, and which hosts are warm by now."""
        self._looked = time.monotonic()
        left, joined = self._members.look()
        for node in left:
            self._remove(node)
        if joined:
            self._begin()
        for host in list(self._hosts):
            if not host.room:
                self._admit(host)
            elif self._gpu and host.has_changed():
                self._offer(host)
        if self._hosts or self._began:  # else the sweep ends, and reports why
            for host, error in self._failed:
                self._notify(
                    f"{host.node.name} takes no trials, its host could not start: {reason(error)}"
                )
            self._failed.clear()

    def _begin(self) -> None:
        """Start a scorer and hosts on those nodes that are to have some; never waits."""
        sweep, held = self.context.sweep, Counter(host.node.id for host in self._hosts)
        fitting = partial(hosts_that_fit, sweep)
        for node, plan in cluster_nodes.layouts(
            sweep.resources, self._members.usable, held, gpu=self._gpu, fitting=fitting
        ):
            if node.id not in self._scorers:
                self._scorers[node.id] = scorer.start_scorer(self._sweep_id, node.id)
            for _ in range(plan.hosts):
                self._hosts.append(start_host(self.context, self._started, node, plan))
                self._started += 1

    def _admit(self, host: HostHandle) -> None:
        """Let a host take trials once it is warm; give up one that cannot start.

        What takes the place of the latter is started on another node.
        """
        ready, _ = ray.wait([host.warming], timeout=0)
        if not ready:
            return
        try:
            host.finish()
        except ray.exceptions.RayError as error:
            if died(error) and host.may_restart(_LOST_SECONDS):
                host.begin()
                return
            ray.kill(host.actor, no_restart=True)
            self._hosts.remove(host)
            self._failed.append((host, error))
            self._members.refuse(host.node)
            self._begin()
            return
        self._offer(host)
        if self._began:
            self._notify(f"{host.node.name} has joined and takes trials")

    def _refuse(self) -> None:
        """Raise why no host could start; what a user can fix is raised as a host raised it."""
        for _, error in self._failed:
            if not isinstance(error, ray.exceptions.RayActorError):
                cause = getattr(error, "cause", None)
                raise cause if isinstance(cause, (ValueError, OSError)) else error from None
        reasons = [f"{host.node.name}: {reason(error)}" for host, error in self._failed]
        because = "; ".join(reasons) or "every node that was to have one has left"
        raise FleetError(
            f"no host could start: {because}; "
            "see `sweeps doctor` for the packages, `ray status` for the nodes"
        )

    def _remove(self, node: Node) -> None:
        """Forget the hosts of a node that has left; their trials ask the fleet for others."""
        lost = [host for host in self._hosts if host.node.id == node.id]
        self._hosts = [host for host in self._hosts if host.node.id != node.id]
        ray.get([self._fleet.remove.remote(host.name) for host in lost])
        if node.id in self._scorers:
            ray.kill(self._scorers.pop(node.id), no_restart=True)  # else it moves to another node
        if lost:
            trials = "; its trials resume elsewhere from their snapshots" if self._began else ""
            self._notify(f"{node.name} has left{trials}")
            self._begin()  # fewer hosts than the nodes have room for: others take their place

    def _offer(self, host: HostHandle) -> None:
        """Let the fleet know what a host offers now; trials that it has stay where they are."""
        room = host.update_room(self.context.sweep, gpu=self._gpu)
        ray.get(self._fleet.add.remote(host.name, room))


class FollowCluster(tune.Callback):
    """Tune's callback: looks after hosts between the events of trials, and stops them on Ctrl-C.

    Tune waits for the rungs in flight, which may take hours; once their hosts are gone, they have
    ended. What they have not reported is trained again when the sweep resumes.
    """

    def __init__(self, hosts: Hosts) -> None:
        self._hosts = hosts
        self._retained = time.monotonic()

    def setup(self, *args: Any, **info: Any) -> None:
        """Handle Ctrl-C together with Tune, whose handler is in place by now."""
        if threading.current_thread() is not threading.main_thread():
            return  # a program that embeds the driver handles signals itself
        handler = signal.getsignal(signal.SIGINT)

        def stop_hosts(number: int, frame: FrameType | None) -> None:
            if callable(handler):
                handler(number, frame)
            stop = threading.Thread(
                target=self._hosts.stop, args=(INTERRUPTED_SECONDS,), daemon=True
            )
            stop.start()

        signal.signal(signal.SIGINT, stop_hosts)

    def on_step_begin(self, iteration: int, trials: Sequence[Any], **_: Any) -> None:
        """Look at the cluster, and free the slots of trials whose processes have died."""
        self._hosts.follow()
        if time.monotonic() - self._retained > RETAIN_SECONDS:
            self._retained = time.monotonic()
            live = [trial for trial in trials if trial.status in (Trial.PENDING, Trial.RUNNING)]
            self._hosts.retain([trial.config["number"] for trial in live])
