"""Starts the actors of a fleet, each on the node where it belongs."""

import re
import time
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import ray
from ray import tune
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from sweeps.capacity.bases import Bases
from sweeps.capacity.layout import Layout
from sweeps.fleet.nodes import Node
from sweeps.fleet.placement import Fleet, fleet_name
from sweeps.fleet.scorer import NodeScorer
from sweeps.host.context import SweepContext
from workers.memory.fit import Device
from workers.memory.footprint import Correction

_CRUMB = 0.0001
"""Of the resource that stands for a node, of which there is 1: Tune refuses a trial with none."""


@dataclass(frozen=True, kw_only=True)
class HostReport:
    """What a host has said of its node."""

    share: Device
    """What it has for itself."""
    bases: Bases
    """Those of the sweep's bases whose files are there."""
    correction: Correction
    """Of the estimate, by what it has measured."""


@dataclass(kw_only=True)
class HostHandle:
    """One host, from its start until its node leaves."""

    name: str
    node: Node
    actor: Any
    said: list[str] = field(default_factory=list)
    """Lines for the user, once it can take trials."""
    ready: bool = False
    slots: int = 0
    """Trials that it holds at a time, once it is ready."""
    gpu_bytes: float | None = None
    """Its share of its GPU's memory, once it is ready; None without a GPU."""
    known: HostReport | None = None
    """What its slots follow from, once it is ready."""
    asked: Any = None
    """Ray's reference of its answer what it has measured; None where nobody asks."""
    died: float | None = None
    """When its process died first while it began, by `time.monotonic`."""

    def __post_init__(self) -> None:
        self.begin()

    def begin(self) -> None:
        """Let it load data and base, also anew after its process has died."""
        self.warming: Any = self.actor.warm_up.remote()
        """Ray's reference of what it says."""

    def is_worth_a_try(self, seconds: float) -> bool:
        """Tell whether its first death is so recent; this one is the first if there was none."""
        now = time.monotonic()
        self.died = self.died or now
        return now - self.died < seconds


def start_host(context: SweepContext, number: int, node: Node, plan: Layout) -> HostHandle:
    """Start a host: one that dies is started again, empty, as long as its node lives."""
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
    """Start the actor that trials ask for places, beside the driver."""
    own = ray.get_runtime_context().get_node_id()
    return (
        ray.remote(Fleet)
        .options(
            name=fleet_name(sweep_id),
            num_cpus=0,
            scheduling_strategy=NodeAffinitySchedulingStrategy(own, soft=False),
        )
        .remote()
    )


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
    """Return in a line why a host could not begin."""
    if died(error):
        return "its process died, or cannot be reached; its log is in Ray's folder on that node"
    return str(getattr(error, "cause", None) or error).strip().splitlines()[-1]


def died(error: Exception) -> bool:
    """Tell whether a host's process died; otherwise the error is what its own code raised."""
    raised = isinstance(error, ray.exceptions.RayTaskError)
    return not (raised or getattr(error, "actor_init_failed", False))
