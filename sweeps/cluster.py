"""Ray: joined or started, and what a sweep finds there."""

import contextlib
import logging
import os
import signal
import sysconfig
import threading
import warnings
from functools import partial
from typing import Any

import ray

from sweeps.fleet import nodes
from sweeps.fleet.sharing import hosts_that_fit
from sweeps.resources import Layout, local_cpus, local_gpus
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
    # Tune's state of the whole sweep is read by nobody: a sweep goes on from study and records.
    "TUNE_GLOBAL_CHECKPOINT_S": "inf",
    # Trials whose sweep was stopped have lost their hosts, and nobody waits for them any more.
    "RAY_IGNORE_UNHANDLED_ERRORS": "1",
}
# Ray on this machine alone listens on loopback. Ray would otherwise write a token to the home
# folder, after which other Ray commands of the user ask for it.
_LOCAL = {"RAY_AUTH_MODE": "disabled"}

_IMPORTED_FIRST = sysconfig.get_path("stdlib")
"""Ray's workers import before all else from the folder in which Ray was started or joined. In that
of the command others' data may lie, and a ``json.py`` among it; this one is on the path anyway."""


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
    with contextlib.chdir(_IMPORTED_FIRST):
        ray.init(**options)
    _heed_sigterm()


def _heed_sigterm() -> None:
    """Let SIGTERM interrupt the driver as Ctrl-C does; Ray has just made it abort the process."""
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, signal.default_int_handler)


def cluster_layout(sweep: Sweep) -> Layout:
    """Return the layout of the hosts on the first node that has some.

    Hosts go to GPUs where the cluster has any. Raises ValueError, naming ``resources.hosts``,
    for more of them than there is room for.
    """
    there, wanted = nodes.alive(), sweep.resources
    gpu = any(node.gpus for node in there)
    nodes.refuse(wanted, there, gpu=gpu)
    fitting = partial(hosts_that_fit, sweep)
    return nodes.layouts(wanted, there, {}, gpu=gpu, fitting=fitting)[0][1]


def results(calls: list[Any]) -> list[Any]:
    """Wait for calls of hosts; raise what a host raised as if it had been raised here."""
    try:
        return list(ray.get(calls))
    except ray.exceptions.RayTaskError as error:
        if isinstance(error.cause, (ValueError, OSError)):  # a person can mend it: no traceback
            raise error.cause from None
        raise


def stop(actors: list[Any], seconds: float) -> None:
    """Ask hosts or scorers all at once to release what they hold, then end them.

    One that has not done so after `seconds`, because it still trains, is ended all the same.
    """
    asked = [actor.shutdown.remote() for actor in actors]
    if asked:
        ray.wait(asked, num_returns=len(asked), timeout=seconds)
    for actor in actors:
        ray.kill(actor, no_restart=True)
