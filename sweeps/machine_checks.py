"""Checks of the machine: Java, GPUs, disk, Ray. Each returns one `Finding`."""

import os
import shutil
import socket
import tempfile
from pathlib import Path

from sweeps.finding import Finding, probe
from sweeps.fleet.device import cards
from sweeps.resources import local_cpus, local_gpus
from workers.metrics import java as metrics_java

SCARCE_BYTES = 2e9
"""Less free space than this is worth a word: a 7B base alone takes 15 GB."""

_CONNECT_SECONDS = 2.0
_TORCH = "import torch; print(torch.__version__, torch.version.cuda, torch.cuda.device_count())"


def java() -> Finding:
    """Run the Java that METEOR and the tokenizer of the metrics use."""
    try:
        return Finding("ok", f"{metrics_java.java_version()}, {metrics_java.java()}")
    except metrics_java.JavaMissingError as error:
        text, _, mend = str(error).rpartition("; ")
        return Finding("broken", text, mend)


def gpus() -> Finding:
    """Compare the GPUs that are here with those that torch can use."""
    cards, usable = _cards(), local_gpus()
    if not cards and not usable:
        return Finding("ok", "none: sweeps run on the CPU")
    named = "; ".join(cards) or f"{usable} NVIDIA device(s)"
    if os.environ.get("CUDA_VISIBLE_DEVICES", "0").strip() in ("", "-1"):
        text = f"{named}; hidden by CUDA_VISIBLE_DEVICES, so sweeps run on the CPU"
        return Finding("note", text, "unset CUDA_VISIBLE_DEVICES to use them")
    version, cuda, seen = probe(_TORCH).split()
    if cuda == "None":
        mend = f"pip uninstall torch, then install torch {version.partition('+')[0]} with CUDA"
        return Finding("broken", f"{named}; but torch {version} is built without CUDA", mend)
    if seen == "0":
        mend = f"install an NVIDIA driver that runs CUDA {cuda}"
        return Finding("broken", f"{named}; but torch {version} sees none of them", mend)
    return Finding("ok", f"{named}; torch {version} sees {seen}")


def disk(folder: Path, mend: str) -> Finding:
    """Write a file that nobody sees where `folder` is or would be made, and see what is free."""
    folder = folder.expanduser().absolute()
    there = next(path for path in (folder, *folder.parents) if path.exists())
    try:
        with tempfile.TemporaryFile(dir=there) as file:
            file.write(b"sweeps")
            file.flush()
    except OSError as error:
        return Finding("broken", f"{folder} cannot be written: {error.strerror}", mend)
    free = shutil.disk_usage(there).free
    text = f"{free / 1e9:.1f} GB free in {folder}"
    return Finding("ok", text) if free >= SCARCE_BYTES else Finding("note", text, mend)


def ray() -> Finding:
    """See that Ray imports, and that the cluster of RAY_ADDRESS answers if there is one."""
    version = probe("import ray; print(ray.__version__)")
    address = os.environ.get("RAY_ADDRESS", "")
    if not address:
        return Finding("ok", f"{version}; starts here on {local_cpus()} cores, {local_gpus()} GPUs")
    reason = _unreachable(address)
    if reason:
        mend = "start that cluster, or unset RAY_ADDRESS to use this machine alone"
        return Finding("broken", f"{version}; RAY_ADDRESS={address}: {reason}", mend)
    return _authentication(f"{version}; {address} answers")


def _cards() -> list[str]:
    """Return each GPU's name and memory as nvidia-smi knows them; none where it fails."""
    return [f"{card.name}, {card.bytes / 2**30:.0f} GiB" for card in cards()]


def _unreachable(address: str) -> str | None:
    """Return why nothing answers at ``host:port`` or ``ray://host:port``; None if it does."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if not (host and port.isdecimal()):
        return "must be host:port"
    try:
        socket.create_connection((host, int(port)), _CONNECT_SECONDS).close()
    except (OSError, OverflowError) as error:
        return f"does not answer ({error})"
    return None


def _authentication(joined: str) -> Finding:
    """Say what Ray's tokens do to a sweep that joins a cluster.

    `ray start --head` asks for a token as soon as its machine has one, and any earlier
    `ray.init()` may have left one; those who join send it only if RAY_AUTH_MODE says so.
    """
    mode = os.environ.get("RAY_AUTH_MODE")
    if mode is None:
        text = f"{joined}; RAY_AUTH_MODE is not set: a cluster with a token refuses this process"
        mend = "export RAY_AUTH_MODE=token, or disabled, here and on every node"
        return Finding("note", text, mend)
    if mode.lower() == "token" and not _has_token():
        mend = "copy .ray/auth_token from the head node's home folder to this one's"
        return Finding("broken", f"{joined}; RAY_AUTH_MODE=token, but no token is here", mend)
    return Finding("ok", f"{joined}; RAY_AUTH_MODE={mode}")


def _has_token() -> bool:
    named = os.environ.get("RAY_AUTH_TOKEN_PATH")
    file = Path(named) if named else Path.home() / ".ray" / "auth_token"
    return bool(os.environ.get("RAY_AUTH_TOKEN")) or file.is_file()
