"""``sweeps doctor``: looks for what stops a sweep on this machine, and prints how to fix it.

A check returns a sentence or an issue; those of packages are in `sweeps.doctor.packages`.
"""

import os
import shutil
import socket
import tempfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from urllib.parse import urlsplit

from rich.console import Console

from search_spaces.issues import Issue
from sweeps.capacity.device import cards
from sweeps.capacity.layout import local_cpus, local_gpus
from sweeps.doctor import packages
from sweeps.doctor.check import CheckResult, error, line, probe, warning
from sweeps.fleet import ray_access
from sweeps.fleet.ray_access import ClusterAccess
from workers.files import cache
from workers.metrics.java import runtime as metrics_java

HEALTHY, UNHEALTHY = 0, 1
"""Exit codes."""
SCARCE_BYTES = 2e9
"""Less free space than this is a warning: a 7B base alone takes 15 GB."""

_PARALLEL = 2  # most checks wait for an import in another process
_CONNECT_SECONDS = 2.0
_HEAD = (
    "import os; from ray._private.services import canonicalize_bootstrap_address as found\n"
    "try: print(found(os.environ['RAY_ADDRESS']))\n"
    "except ConnectionError: print()\n"
    "except ValueError: print(os.environ['RAY_ADDRESS'])"
)
_TORCH = "import torch; print(torch.__version__, torch.version.cuda, torch.cuda.device_count())"


def check_machine(results: Path, console: Console) -> int:
    """Print one line per check; return `UNHEALTHY` when one of them would stop a sweep."""
    named = checks(results)
    errors = 0
    with ThreadPoolExecutor(_PARALLEL) as pool:
        for name, result in zip(named, pool.map(run_check, named.values()), strict=True):
            console.print(line(name, result), soft_wrap=True)
            errors += isinstance(result, Issue) and result.severity == "error"
    if not errors:
        console.print("ready for a sweep")
        return HEALTHY
    console.print(f"{errors} error{'s' if errors > 1 else ''}: a sweep would stop there")
    return UNHEALTHY


def checks(results: Path) -> dict[str, Callable[[], CheckResult]]:
    """Return all checks by name, for sweeps whose results go to `results`."""
    another = f"name another folder with {cache.VARIABLE}"
    return {
        "java": java,
        "gpus": gpus,
        "bitsandbytes": packages.bitsandbytes,
        "torchvision": packages.torchvision,
        "results": partial(disk, results, "name another folder with --results"),
        "cache": partial(disk, cache.folder(), another),
        "ray": ray,
        "tracking": partial(packages.tracking, results),
        "versions": packages.versions,
    }


def run_check(check: Callable[[], CheckResult]) -> CheckResult:
    """Return the result of a check; one that raises is an error."""
    try:
        return check()
    except Exception as failure:  # of any kind: the other checks still run
        return error(f"{type(failure).__name__}: {failure}")


def java() -> CheckResult:
    """Run the Java that METEOR and the tokenizer of the metrics use."""
    try:
        return f"{metrics_java.java_version()}, {metrics_java.java()}"
    except metrics_java.JavaMissingError as missing:
        text, _, fix = str(missing).rpartition("; ")
        return error(text, fix)


def gpus() -> CheckResult:
    """Compare the GPUs that are here with those that torch can use."""
    found, usable = cards(), local_gpus()
    if not found and not usable:
        return "none: sweeps run on the CPU"
    named = "; ".join(f"{card.name}, {card.bytes / 2**30:.0f} GiB" for card in found)
    named = named or f"{usable} NVIDIA device(s)"
    if os.environ.get("CUDA_VISIBLE_DEVICES", "0").strip() in ("", "-1"):
        text = f"{named}; hidden by CUDA_VISIBLE_DEVICES, so sweeps run on the CPU"
        return warning(text, "unset CUDA_VISIBLE_DEVICES to use them")
    version, cuda, seen = probe(_TORCH).split()
    if cuda == "None":
        fix = f"pip uninstall torch, then install torch {version.partition('+')[0]} with CUDA"
        return error(f"{named}; but torch {version} is built without CUDA", fix)
    if seen == "0":
        fix = f"install an NVIDIA driver that runs CUDA {cuda}"
        return error(f"{named}; but torch {version} sees none of them", fix)
    return f"{named}; torch {version} sees {seen}"


def disk(folder: Path, fix: str) -> CheckResult:
    """Write a hidden file where `folder` is or would be made, and measure the free space."""
    folder = folder.expanduser().absolute()
    there = next(path for path in (folder, *folder.parents) if path.exists())
    try:
        with tempfile.TemporaryFile(dir=there) as file:
            file.write(b"sweeps")
            file.flush()
    except OSError as failure:
        return error(f"{folder} cannot be written: {failure.strerror}", fix)
    free = shutil.disk_usage(there).free
    text = f"{free / 1e9:.1f} GB free in {folder}"
    return text if free >= SCARCE_BYTES else warning(text, fix)


def ray() -> CheckResult:
    """Import Ray, and check that the cluster of RAY_ADDRESS, if any, answers and who may use it."""
    version = probe("import ray; print(ray.__version__)")
    address = os.environ.get("RAY_ADDRESS", "")
    if address in ("", "local"):
        here = f"{local_cpus()} cores, {local_gpus()} GPUs"
        return f"{version}; starts here on loopback on {here}"
    # Ray joins a head on this machine by its address on the network, where others reach it, too.
    head = address if address.startswith("ray://") else probe(_HEAD)
    reason = _unreachable(head)
    if reason:
        fix = "start that cluster, or unset RAY_ADDRESS to use this machine alone"
        return error(f"{version}; RAY_ADDRESS={address}: {reason}", fix)
    joined = f"{version}; {address} answers"
    # Ray's client and TLS have other protocols; whether they are let in shows at joining.
    if head.startswith("ray://") or os.environ.get("RAY_USE_TLS") == "1":
        return joined
    answer = ray_access.answer(head, os.environ)
    if answer is ClusterAccess.REFUSED:
        text, _, fix = ray_access.refusal(head, os.environ).rpartition(": ")
        return error(f"{joined}; {text}", fix)
    if answer is ClusterAccess.NONE:
        return warning(f"{joined}, but not as the head of a Ray cluster", "see RAY_ADDRESS")
    if answer is ClusterAccess.OPEN and (exposed := ray_access.exposed(head)):
        text, _, fix = exposed.rpartition("; ")
        return warning(f"{joined}; {text}", fix)
    file = ray_access.token_file(os.environ)
    if file.is_file() and file.stat().st_mode & 0o077:
        return warning(f"{joined}; others may read {file}", f"chmod 600 {file}")
    return f"{joined}; token accepted" if answer is ClusterAccess.ACCEPTED else joined


def _unreachable(address: str) -> str | None:
    """Return why nothing answers at ``host:port`` or ``ray://host:port``; None if it does."""
    try:
        parts = urlsplit(address if "://" in address else f"//{address}")
        host, port = parts.hostname, parts.port
    except ValueError:  # a port beyond 65535, a bracket without its end
        host = port = None
    if not (host and port):
        return "must be host:port" if address else "no cluster runs on this machine"
    try:
        socket.create_connection((host, port), _CONNECT_SECONDS).close()
    except OSError as error:
        return f"does not answer ({error})"
    return None
