"""The actors of a fleet, each started on the node where it belongs, and what its hosts report."""

import re
import time
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import ray
from ray import tune
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from sweeps.capacity import memory
from sweeps.capacity.layout import Layout
from sweeps.capacity.memory import Bases
from sweeps.fleet.nodes import Node
from sweeps.fleet.placement import Fleet, Room, fleet_name
from sweeps.fleet.scorer import NodeScorer
from sweeps.host.context import SweepContext
from sweeps.spec.sweep import Sweep
from workers.memory.fit import Device
from workers.memory.footprint import Correction, largest

_CRUMB = 0.0001
"""Of the resource that stands for a node, of which there is 1: Tune refuses a trial with none."""


@dataclass(kw_only=True)
class HostHandle:
    """One host, from its start until its node leaves."""

    name: str
    node: Node
    actor: Any
    messages: list[str] = field(default_factory=list)
    """Lines for the user, once it is warm."""
    room: Room | None = None
    """What it offers to trials; None until it takes some."""
    share: Device | None = None
    """Its part of its node's devices and memory, once it is warm."""
    bases: Bases | None = None
    """Those of the sweep's bases whose files are on its node, once it is warm."""
    correction: Correction = field(default_factory=Correction)
    """Of the estimate, by what it has measured while trials ran."""
    measured: Any = None
    """Ray's reference to its next correction; None when none is requested."""
    asked: Any = None
    """Ray's reference to how many images it has prepared; None when that is not requested."""
    died: float | None = None
    """When its process first died while it started, by `time.monotonic`."""

    def __post_init__(self) -> None:
        self.begin()

    def begin(self) -> None:
        """Start loading data and base, also again after its process has died."""
        self.warming: Any = self.actor.warm_up.remote()
        """Ray's reference to its messages."""

    def finish(self) -> None:
        """Read what the host reports when it is warm; waits for it, raises what Ray raises."""
        self.messages = ray.get(self.warming)
        asked = self.actor.share, self.actor.files, self.actor.extent
        self.share, files, data = ray.get([each.remote() for each in asked])
        self.bases = Bases(files, data)

    def images_prepared(self) -> tuple[int, int]:
        """Return how many images a host that starts has prepared, of how many; never waits.

        Nothing, (0, 0), is known of a host that has not answered.
        """
        if self.asked is None:
            self.asked = self.actor.images_prepared.remote()
        answered, _ = ray.wait([self.asked], timeout=0)
        if not answered:
            return 0, 0
        prepared, self.asked = self.asked, None
        with suppress(ray.exceptions.RayError):  # its process has died
            done, count = ray.get(prepared)
            return done, count
        return 0, 0

    def may_restart(self, seconds: float) -> bool:
        """Return whether its first death is at most so long ago; the first call marks it."""
        now = time.monotonic()
        self.died = self.died or now
        return now - self.died < seconds

    def has_changed(self) -> bool:
        """Return whether the host has measured something new since the last call; never waits.

        A host that restarts, because its process died, has measured nothing: its old correction
        stays.
        """
        if self.measured is None:
            self.measured = self.actor.correction.remote()
        answered, _ = ray.wait([self.measured], timeout=0)
        if not answered:
            return False
        before = self.correction
        with suppress(ray.exceptions.RayError):  # its process has died
            self.correction = largest([before, ray.get(self.measured)])
        self.measured = None
        return self.correction != before

    def update_room(self, sweep: Sweep, *, gpu: bool) -> Room:
        """Set and return what a warm host offers, by what is known of it now."""
        assert self.share is not None
        assert self.bases is not None
        share, slots = self.share, sweep.resources.slots
        if gpu and not share.gpu:  # Ray counts a GPU there that torch cannot use
            share = Device(gpu=True, bytes=0.0)
        if slots == "auto":
            slots = memory.auto_slots(sweep, self.bases, share, self.correction)
        self.room = Room(slots=slots, gpu_bytes=share.bytes if gpu else None)
        return self.room


def start_host(context: SweepContext, number: int, node: Node, plan: Layout) -> HostHandle:
    """Start a host; Ray restarts one that dies, empty, as long as its node lives."""
    from sweeps.host.actor import SPARE_CALLS, HostActor
    from workers.memory.fit import MOST_SLOTS_GPU

    short = f"host-{number}"
    name = f"{context.folder.sweep_id}/{short}"
    options: Any = ray.remote(HostActor).options(
        name=name,
        num_cpus=plan.cpus_per_host,
        num_gpus=plan.gpus_per_host,
        max_restarts=-1,
        max_concurrency=max(plan.slots, MOST_SLOTS_GPU) + SPARE_CALLS,
        scheduling_strategy=NodeAffinitySchedulingStrategy(node.id, soft=False),
    )
    own = replace(context, threads=plan.threads, beside=plan.hosts)
    actor = options.remote(own, short, partial(NodeScorer, context.folder.sweep_id))
    return HostHandle(name=name, node=node, actor=actor)


def start_fleet(sweep_id: str) -> Any:
    """Start the actor that places trials on hosts, on the driver's node."""
    own = ray.get_runtime_context().get_node_id()
    affinity = NodeAffinitySchedulingStrategy(own, soft=False)
    options: Any = ray.remote(Fleet).options(
        name=fleet_name(sweep_id), num_cpus=0, scheduling_strategy=affinity
    )
    return options.remote()


def beside_driver() -> tune.PlacementGroupFactory:
    """Return what Tune reserves for the process of a trial: a place on this node, and no core.

    Elsewhere it would die with a node that the trial may not even be trained on, and Tune loses a
    trial whose process dies while it is handed over from the trial before (Ray 2.60).
    """
    own = ray.get_runtime_context().get_node_id()
    nodes: list[Any] = ray.nodes()  # type: ignore[no-untyped-call]
    (resources,) = (node["Resources"] for node in nodes if node["NodeID"] == own)
    (address,) = (name for name in resources if re.fullmatch(r"node:(?!__).*", name))
    return tune.PlacementGroupFactory(
        [{address: _CRUMB}], bundle_label_selector=[{"ray.io/node-id": own}]
    )


def reason(error: Exception) -> str:
    """Return in a line why a host could not start."""
    if died(error):
        return "its process died, or cannot be reached; its log is in Ray's folder on that node"
    return str(getattr(error, "cause", None) or error).strip().splitlines()[-1]


def died(error: Exception) -> bool:
    """Return whether a host's process died; otherwise the error is what its own code raised."""
    raised = isinstance(error, ray.exceptions.RayTaskError)
    return not (raised or getattr(error, "actor_init_failed", False))
