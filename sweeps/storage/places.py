"""Working copies: where processes work on results that live in an object store.

Every process works on files of its own machine. A folder of results that is a copy of a store is
marked by a file with the store's address. A file of results is written by one process at a time,
each in a copy of its own, so nothing is overwritten.
"""

import hashlib
import os
import re
import secrets
import shutil
import socket
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from sweeps.storage.store import Storage
from workers.files import cache
from workers.files.addresses import is_address, opened, refuse_secret
from workers.files.atomic import atomic_write

MARK = ".storage"
"""The file in a working copy that holds the address."""
DRIVER, READER = "driver", "reader"
"""Copies of the process that drives sweeps, and of commands that look at them."""
INSTEAD = (
    "credentials belong in the environment of every node, as AWS_ACCESS_KEY_ID and "
    "AWS_SECRET_ACCESS_KEY, or HF_TOKEN"
)
"""Where the secrets of an address of a store belong."""


@dataclass(frozen=True)
class Copy:
    """A folder of this machine, and the store that it is a copy of."""

    storage: Storage
    root: Path

    def key(self, path: Path) -> str:
        """Return the key of a path of the copy; the copy itself has an empty one."""
        return "" if path == self.root else path.relative_to(self.root).as_posix()


def working(results: str | Path, name: str) -> Path:
    """Return the folder in which a process works: `results`, or its copy of that address.

    Raises ValueError for an address with a secret, which others would read.
    """
    if not is_address(str(results)):
        return Path(results).expanduser()
    base, mark, options = str(results).partition("?")
    address = base.rstrip("/") + mark + options
    refuse_secret("storage", address, INSTEAD)
    root = _copies(address) / name
    if not (root / MARK).is_file():
        cache.make(root)
        atomic_write(root / MARK, address)
    return root


def private(address: str, name: str) -> Path:
    """Return a new working copy for this process alone; remove those of dead processes."""
    here = socket.gethostname()
    for other in _copies(address).glob(f"*@{here}.*"):
        if not psutil.pid_exists(int(other.name.rpartition(".")[2])):
            shutil.rmtree(other, ignore_errors=True)
    return working(address, f"{name}-{secrets.token_hex(4)}@{here}.{os.getpid()}")


def around(path: Path) -> Copy | None:
    """Return the working copy that a path lies in, or None for a plain folder."""
    for place in (path, *path.parents):
        if (place / MARK).is_file():
            return Copy(Storage((place / MARK).read_text()), place)
    return None


def address_of(path: Path) -> str | None:
    """Return the address in the store of what has this path here; None in a plain folder."""
    copy = around(path)
    if copy is None:
        return None
    base, mark, options = copy.storage.address.partition("?")
    return f"{base}/{copy.key(path)}".removesuffix("/") + mark + options


def shown(path: Path) -> str:
    """Return the address or path under which a user finds a file or folder."""
    return address_of(path) or str(path)


def place_of_tune(folder: Path) -> dict[str, Any]:
    """Return Ray Tune's arguments for the place of what every node must see."""
    copy = around(folder)
    if copy is None:
        return {"storage_path": str(folder)}
    files, base = opened(copy.storage.address)
    return {"storage_filesystem": files, "storage_path": f"{base}/{copy.key(folder)}"}


def _copies(address: str) -> Path:
    digest = hashlib.sha256(address.encode()).hexdigest()[:8]
    readable = re.sub(r"[^A-Za-z0-9.-]+", "-", address.partition("://")[2].partition("?")[0])
    return cache.folder().absolute() / "storage" / f"{readable}-{digest}"
