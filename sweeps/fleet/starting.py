"""Starts the actors of a fleet, each on the node where it belongs."""

from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from sweeps.context import SweepContext
from sweeps.fleet.fleet import Fleet, fleet_name
from sweeps.fleet.nodes import Node
from sweeps.node_scorer import NodeScorer
from sweeps.resources import Layout


@dataclass(kw_only=True)
class Host:
    """One host, from its start until its node leaves."""

    name: str
    node: Node
    actor: Any
    warming: Any
    """Ray's reference of what it says once it can take trials."""
    ready: bool = False
    slots: int = 0
    """Trials that it holds at a time, once it is ready."""
    gpu_bytes: float | None = None
    """Its share of its GPU's memory, once it is ready; None without a GPU."""


def start_host(context: SweepContext, number: int, node: Node, plan: Layout) -> Host:
    """Start a host: one that dies is started again, empty, as long as its node lives."""
    from sweeps.host_actor import SPARE_CALLS, HostActor
    from workers.footprint.fit import MOST_SLOTS_GPU

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
    own = replace(context, threads=plan.threads)
    actor = options.remote(own, short, partial(NodeScorer, context.folder.sweep_id))
    return Host(name=name, node=node, actor=actor, warming=actor.warm_up.remote())


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
