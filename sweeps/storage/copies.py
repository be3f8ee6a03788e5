"""Working copies: where processes work on results that live in an object store.

Every process works on files of its own machine. A folder of results that is a copy of a store
says so in a file, and the functions below send up what must outlive the machine and bring down
what others wrote. For a folder that all nodes share they do nothing but what is done to it anyway.
A file of results is written by one process at a time, each in a copy of its own, so nothing is
overwritten.
"""

import fnmatch
import hashlib
import os
import re
import secrets
import shutil
import socket
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sweeps.storage import folders
from sweeps.storage.storage import Stamp, Storage
from workers import cache
from workers.addresses import hidden, is_address, opened

MARK = ".storage"
"""The file in a working copy that holds the address."""
DRIVER, READER = "driver", "reader"
"""Copies of the process that drives sweeps, and of commands that look at them."""
CLAIM_SECONDS = 1.0
"""Of two that write a file at the same moment, the last one wins; after so long it is certain."""
_RACY_SECONDS = 5.0
_AT_A_TIME = 8
WITHOUT_PASSWORD = (
    "must be without user and password, which stand in the environment, as AWS_ACCESS_KEY_ID and "
    "AWS_SECRET_ACCESS_KEY do"
)


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

    Raises ValueError for an address with a password, which others would read.
    """
    if not is_address(str(results)):
        return Path(results).expanduser()
    base, mark, options = str(results).partition("?")
    address = base.rstrip("/") + mark + options
    if hidden(address) != address:
        raise ValueError(f"storage: {WITHOUT_PASSWORD}, got {hidden(address)}")
    root = _copies(address) / name
    if not (root / MARK).is_file():
        root.mkdir(parents=True, exist_ok=True)
        partial = root / f"{MARK}.{os.getpid()}.partial"
        partial.write_text(address)
        partial.replace(root / MARK)
    return root


def private(address: str, name: str) -> Path:
    """Return a new working copy for this process alone; those of dead ones are removed."""
    here = socket.gethostname()
    for other in _copies(address).glob(f"*@{here}.*"):
        if not _lives(int(other.name.rpartition(".")[2])):
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
    """Return where something lies, as a person looks for it."""
    return address_of(path) or str(path)


def push(path: Path) -> None:
    """Send a file or a folder up."""
    copy = around(path)
    if copy and path.is_dir():
        folders.put(copy.storage, path, copy.key(path))
    elif copy:
        copy.storage.put(path, copy.key(path))


def pull(path: Path) -> None:
    """Bring a file or a folder down as the store has it now; what it has not goes here, too."""
    copy = around(path)
    if copy is None:
        return
    key = copy.key(path)
    if not copy.storage.get(key, path) and not folders.get(copy.storage, key, path):
        _remove(path)


def drop(path: Path) -> None:
    """Remove a file or a folder, if it is there."""
    copy = around(path)
    if copy:
        folders.drop(copy.storage, copy.key(path))
    _remove(path)


def forget(path: Path) -> None:
    """Make room on this machine where the store has it all."""
    if around(path):
        _remove(path)


def holds(path: Path) -> bool:
    """Tell whether a file or a whole folder is there."""
    copy = around(path)
    if copy is None:
        return path.exists()
    key = copy.key(path)
    return copy.storage.stamp(key) is not None or folders.has(copy.storage, key)


def glob(folder: Path, pattern: str) -> list[Path]:
    """Return the files and folders below `folder` that a pattern of names names, sorted."""
    copy = around(folder)
    if copy is None:
        return sorted(folder.glob(pattern))
    depth = pattern.count("/") + 1
    keys = copy.storage.files(copy.key(folder))
    found = {"/".join(key.split("/")[:depth]) for key in keys if key.count("/") + 1 >= depth}
    return sorted(folder / name for name in found if _matches(name, pattern))


def size(path: Path) -> float | None:
    """Return the bytes below a folder in the store; None for a plain folder."""
    copy = around(path)
    if copy is None:
        return None
    return float(sum(stamp.size for stamp in copy.storage.files(copy.key(path)).values()))


def time_of(path: Path) -> float:
    """Return when a file was written, by the clock of where it lives.

    Raises FileNotFoundError where there is none.
    """
    copy = around(path)
    if copy is None:
        return path.stat().st_mtime
    stamp = copy.storage.stamp(copy.key(path))
    if stamp is None:
        raise FileNotFoundError(f"{copy.storage.address} has no {copy.key(path)}")
    return stamp.time


def place_of_tune(folder: Path) -> dict[str, Any]:
    """Return Ray Tune's arguments that say where it keeps what every node must see."""
    copy = around(folder)
    if copy is None:
        return {"storage_path": str(folder)}
    files, base = opened(copy.storage.address)
    return {"storage_filesystem": files, "storage_path": f"{base}/{copy.key(folder)}"}


def names(root: Path) -> list[str]:
    """Return the names of the folders directly in `root`, which must be there."""
    copy = around(root)
    here = [path.name for path in root.iterdir() if path.is_dir()]
    return sorted({*here, *copy.storage.names(copy.key(root))} if copy else here)


def claimed(folder: Path) -> bool:
    """Tell whether a folder that was just made is ours; no other machine may have it as well."""
    copy, claim = around(folder), folder / "claim"
    if copy is None:
        return True
    if copy.storage.stamp(copy.key(claim)):
        return False
    claim.write_text(secrets.token_hex(8))
    push(claim)
    return is_last(claim)


def is_last(file: Path) -> bool:
    """Tell whether nobody on another machine wrote a file at the same moment as we did."""
    copy = around(file)
    if copy is None:
        return True
    time.sleep(CLAIM_SECONDS)
    return copy.storage.read(copy.key(file)) == file.read_bytes()


def arrive(root: Path) -> None:
    """Bring down the sweep files of all sweeps, so that they are found here."""
    copy = around(root)
    if copy is None:
        return
    copy.storage.check()
    there = copy.storage.names()
    for name in there:
        pull(root / name / "sweep.yaml")
    for spec in root.glob("*/sweep.yaml"):
        if spec.parent.name not in there:
            spec.unlink(missing_ok=True)


def refresh(folder: Path, wanted: Callable[[str], bool]) -> None:
    """Let the files below a folder whose paths are wanted be as they are in the store."""
    copy = around(folder)
    if copy is None:
        return
    there = copy.storage.files(copy.key(folder))
    stale = [name for name, stamp in there.items()
             if wanted(name) and not _is_fresh(folder / name, stamp)]  # fmt: skip
    with ThreadPoolExecutor(_AT_A_TIME) as pool:
        list(pool.map(lambda name: _fetch(copy, folder / name, there[name]), stale))
    for file in [file for file in folder.rglob("*") if file.is_file()]:
        name = file.relative_to(folder).as_posix()
        if name not in there and wanted(name) and not _is_private(file):
            file.unlink(missing_ok=True)


def _fetch(copy: Copy, file: Path, stamp: Stamp) -> None:
    if copy.storage.get(copy.key(file), file):
        # Written again within the same second it would look the same: such a file is not trusted.
        settled = time.time() - stamp.time > _RACY_SECONDS
        os.utime(file, (stamp.time, stamp.time) if settled else (0, 0))


def _is_fresh(file: Path, stamp: Stamp) -> bool:
    try:
        here = file.stat()
    except FileNotFoundError:
        return False
    return here.st_size == stamp.size and here.st_mtime == stamp.time


def _is_private(file: Path) -> bool:
    return file.name.startswith(".") or file.suffix in (".lock", ".partial")


def _matches(name: str, pattern: str) -> bool:
    parts = zip(name.split("/"), pattern.split("/"), strict=True)
    return all(fnmatch.fnmatchcase(part, wanted) for part, wanted in parts)


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def _lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except OSError as error:
        return isinstance(error, PermissionError)
    return True


def _copies(address: str) -> Path:
    digest = hashlib.sha256(address.encode()).hexdigest()[:8]
    readable = re.sub(r"[^A-Za-z0-9.-]+", "-", address.partition("://")[2].partition("?")[0])
    return cache.folder().absolute() / "storage" / f"{readable}-{digest}"
