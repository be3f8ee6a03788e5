"""Ray: joined or started, and what a sweep finds there."""

import logging
import os
import secrets
import signal
import stat
import tempfile
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import ray
from ray._private import node as ray_node
from ray._private import ray_constants, services
from ray._private.authentication import authentication_token_setup
from ray._raylet import AuthenticationTokenLoader  # type: ignore[attr-defined]
from ray.job_config import JobConfig

from sweeps.capacity.device import name_slices
from sweeps.capacity.layout import Layout, local_cpus, local_gpus
from sweeps.capacity.memory import hosts_that_fit
from sweeps.fleet import nodes, ray_access
from sweeps.fleet.ray_access import ClusterAccess
from sweeps.spec.load import Sweep

_ENVIRONMENT = {
    # Ray's dashboards and loggers write what MLflow already has, in other places.
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    # A trial that failed reports no objective; that must not end the sweep.
    "TUNE_DISABLE_STRICT_METRIC_CHECKING": "1",
    "RAY_AIR_NEW_OUTPUT": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "RAY_USAGE_STATS_ENABLED": "0",
    # Tune's state of the whole sweep is never read: a sweep resumes from study and records.
    "TUNE_GLOBAL_CHECKPOINT_S": "inf",
    # Trials whose sweep was stopped have lost their hosts, and nothing waits for them any more.
    "RAY_IGNORE_UNHANDLED_ERRORS": "1",
}
_TOKEN = secrets.token_hex(32)
"""The token of the Ray that this process starts; its processes inherit it, no file holds it."""
_SOCKET = "ray/session_2026-11-30_00-00-00_000000_1234567/sockets/plasma_store"
_LONGEST = 103
"""Bytes that the path of a socket may have."""


def check() -> str:
    """Check the cluster that RAY_ADDRESS names before anything is created; return a warning.

    The warning is empty for a cluster that asks for a token, and for Ray on this machine alone.
    Raises PermissionError where the cluster asks for a token that is not here.
    """
    address = os.environ.get("RAY_ADDRESS", "")
    if address in ("", "local") or address.startswith("ray://"):  # Ray's client: another protocol
        return ""
    head = services.canonicalize_bootstrap_address(address)
    answer = ray_access.answer(head, os.environ) if head else ClusterAccess.NONE
    if answer is ClusterAccess.REFUSED:
        raise PermissionError(ray_access.refusal(address, os.environ))
    return ray_access.exposed(str(head)) if answer is ClusterAccess.OPEN else ""


def connect() -> None:
    """Join the cluster that RAY_ADDRESS names, or start Ray on this machine alone.

    Raises PermissionError for a folder of temporary files that belongs to another user.
    """
    for key, value in _ENVIRONMENT.items():
        os.environ.setdefault(key, value)
    if ray.is_initialized():
        return
    warnings.filterwarnings("ignore", category=FutureWarning, module="ray")
    # It logs that tokens are used, as they always are.
    logging.getLogger(authentication_token_setup.__name__).setLevel(logging.ERROR)
    # Ray keeps the first token that it sees, which may be that of another cluster.
    AuthenticationTokenLoader.instance().reset_cache()
    options: dict[str, Any] = {}
    if os.environ.get("RAY_ADDRESS", "") in ("", "local"):
        # Ray on loopback, with its own token, and temporary files that no other user sees.
        os.environ[ray_access.TOKEN] = _TOKEN
        # Ray then requires tokens by itself, and notices it although it has read its settings.
        os.environ.pop(ray_access.MODE, None)
        # Ray's switch, read when it was imported, by which it listens on loopback on macOS.
        ray_constants.ENABLE_RAY_CLUSTER = False
        name_slices()
        cores, gpus = local_cpus(), local_gpus()
        options = {"address": "local", "include_dashboard": False, "num_cpus": cores}
        options |= {"num_gpus": gpus, "_temp_dir": str(_private_folder() / "ray")}
    else:
        ray_constants.ENABLE_RAY_CLUSTER = True
        if os.environ.get(ray_access.TOKEN) == _TOKEN:
            del os.environ[ray_access.TOKEN]
        # Ray's own rule for `ray start`: a token that is here is sent. An open cluster ignores it.
        authentication_token_setup.maybe_enable_token_auth_if_token_available(False)
    # As Ray's client does: its workers shall not import first of all from the folder of the
    # command. Others' data may lie there, and a ``json.py`` among it.
    job = JobConfig(_client_job=True)
    with _without_unused_services():
        ray.init(**options, logging_level=logging.ERROR, log_to_driver=False, job_config=job)
    # SIGTERM interrupts the driver as Ctrl-C does; Ray has just made it abort the process.
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, signal.default_int_handler)


@contextmanager
def _without_unused_services() -> Iterator[None]:
    """Let a Ray that starts here leave out three processes that nobody would ask.

    The autoscaler has no nodes to add, the dashboard is not served, and the driver does not print
    what workers log. Ray waits for the dashboard before it goes on, and in its end for each of
    them: seconds that `ray.init` has no option for (Ray 2.60).
    """
    unused = ("start_monitor", "start_api_server", "start_log_monitor")
    started = {name: vars(ray_node.Node)[name] for name in unused if hasattr(ray_node.Node, name)}
    for name in started:
        setattr(ray_node.Node, name, lambda node, **options: None)
    try:
        yield
    finally:
        for name, method in started.items():
            setattr(ray_node.Node, name, method)


def _private_folder() -> Path:
    """Return the folder of temporary files of this user, whose names others could guess.

    Ray lets all users write into its own folder, where sockets and packages lie.
    """
    name, named = f"sweeps-{os.getuid()}", os.environ.get("RAY_TMPDIR")
    folder = Path(named or tempfile.gettempdir()).absolute() / name
    if not named and len(os.fsencode(folder / _SOCKET)) > _LONGEST:
        folder = Path("/tmp") / name
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid() or found.st_mode & 0o077:
        raise PermissionError(
            f"{folder} must be a folder of yours that nobody else can read: remove it, or name "
            "another folder for temporary files in RAY_TMPDIR"
        )
    return folder


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


def stop(actors: list[Any], seconds: float) -> None:
    """Let hosts or scorers release what they hold, all at once, then end them.

    One that has not done so after `seconds`, because it still trains, is ended all the same.
    """
    calls = [actor.shutdown.remote() for actor in actors]
    if calls:
        ray.wait(calls, num_returns=len(calls), timeout=seconds)
    for actor in actors:
        ray.kill(actor, no_restart=True)
