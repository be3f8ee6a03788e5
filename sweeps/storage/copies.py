"""What goes up from a working copy to its object store, and comes down from there.

What must outlive a machine is pushed as soon as it is written; what others wrote is pulled where it
is needed. For a folder that all nodes share these functions do to it what is done anyway: nothing
to send, and files and folders of it removed, found and measured.
"""

import fnmatch
import os
import shutil
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from sweeps.storage import folders
from sweeps.storage.places import Copy, around
from sweeps.storage.store import Stamp

_RACY_SECONDS = 5.0
_AT_A_TIME = 8


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
