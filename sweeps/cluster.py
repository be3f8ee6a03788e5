"""Ray: joined or started, and the hosts on it."""

import logging
import os
import warnings
from functools import partial
from typing import Any

import ray

from sweeps import node_scorer
from sweeps.context import SweepContext
from sweeps.node_scorer import NodeScorer
from sweeps.resources import Layout, layout, local_cpus, local_gpus
from sweeps.spec import Sweep

_ENVIRONMENT = {
    # Ray's dashboards and loggers write what MLflow already has, in other places.
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    # A trial that failed reports no objective; that must not end the sweep.
    "TUNE_DISABLE_STRICT_METRIC_CHECKING": "1",
    "RAY_CHDIR_TO_TRIAL_DIR": "0",
    "RAY_AIR_NEW_OUTPUT": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "RAY_USAGE_STATS_ENABLED": "0",
    "TUNE_GLOBAL_CHECKPOINT_S": "5",
}
# Ray on this machine alone listens on loopback. Ray would otherwise write a token to the home
# folder, after which other Ray commands of the user ask for it.
_LOCAL = {"RAY_AUTH_MODE": "disabled"}


def connect() -> None:
    """Join the cluster that RAY_ADDRESS names, or start Ray on this machine alone."""
    local = os.environ.get("RAY_ADDRESS", "") in ("", "local")
    for key, value in {**_ENVIRONMENT, **(_LOCAL if local else {})}.items():
        os.environ.setdefault(key, value)
    if ray.is_initialized():
        return
    warnings.filterwarnings("ignore", category=FutureWarning, module="ray")
    options: dict[str, Any] = {"logging_level": logging.ERROR, "log_to_driver": False}
    if local:
        options |= {
            "address": "local",
            "include_dashboard": False,
            "num_cpus": local_cpus(),
            "num_gpus": local_gpus(),
            "_node_ip_address": "127.0.0.1",
        }
    ray.init(**options)


def cluster_layout(sweep: Sweep) -> Layout:
    """Return hosts and slots for the cluster that this process has joined."""
    total = ray.cluster_resources()  # type: ignore[no-untyped-call]
    return layout(
        sweep.resources.hosts,
        sweep.resources.slots,
        cpus=int(total.get("CPU", 1)),
        gpus=int(total.get("GPU", 0)),
    )


def host_names(context: SweepContext, hosts: int) -> tuple[str, ...]:
    """Return the names under which the hosts' actors are found."""
    return tuple(f"{context.folder.sweep_id}/host-{index}" for index in range(hosts))


def start_hosts(context: SweepContext, plan: Layout) -> list[Any]:
    """Start the hosts' actors; a host that dies is started again, empty."""
    from sweeps.host_actor import HostActor

    actor = ray.remote(HostActor)
    return [
        actor.options(
            name=name,
            num_cpus=plan.cpus_per_host,
            num_gpus=plan.gpus_per_host,
            max_restarts=-1,
        ).remote(context, name.rpartition("/")[2], partial(NodeScorer, context.folder.sweep_id))
        for name in host_names(context, plan.hosts)
    ]


def start_scorers(context: SweepContext, hosts: list[Any]) -> list[Any]:
    """Start a scorer on every node that has a host."""
    return node_scorer.start_scorers(
        context.folder.sweep_id, results([host.node.remote() for host in hosts])
    )


def results(calls: list[Any]) -> list[Any]:
    """Wait for calls of hosts; raise what a host raised as if it had been raised here."""
    try:
        return list(ray.get(calls))
    except ray.exceptions.RayTaskError as error:
        if isinstance(error.cause, (ValueError, OSError)):  # a person can mend it: no traceback
            raise error.cause from None
        raise


def stop(actors: list[Any]) -> None:
    """Let hosts and scorers release what they hold, then end them."""
    for actor in actors:
        try:
            ray.get(actor.shutdown.remote(), timeout=30)
        except ray.exceptions.RayError:
            continue  # dead already
        finally:
            ray.kill(actor, no_restart=True)
