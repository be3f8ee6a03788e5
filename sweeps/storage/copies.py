"""Uploads from a working copy to its object store, and downloads from there.

What must outlive a machine is pushed as soon as it is written; what others wrote is pulled where it
is needed. A store knows files only: a folder exists by a small file in it that is written last,
removed first, and lists what belongs to it. In a folder that all nodes share there is nothing to
send: these functions only remove, find and measure its files and folders.
"""

import fnmatch
import json
import os
import secrets
import shutil
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from filelock import FileLock

from sweeps.storage import places
from sweeps.storage.places import around
from sweeps.storage.store import Stamp, Storage, storage_error

WHOLE = ".whole"
"""Name of that file: JSON with a random word and the size of each file."""
_RACY_SECONDS = 5.0
_AT_A_TIME = 8
_TRIES = 5


def push(path: Path) -> None:
    """Upload a file or a folder."""
    copy = around(path)
    if copy and path.is_dir():
        _put_folder(copy.storage, path, copy.key(path))
    elif copy:
        copy.storage.put(path, copy.key(path))


def pull(path: Path) -> None:
    """Download a file or a folder as the store has it now; remove here what it does not have."""
    copy = around(path)
    if copy is None:
        return
    key = copy.key(path)
    if not copy.storage.get(key, path) and not _get_folder(copy.storage, key, path):
        _remove(path)


def drop(path: Path) -> None:
    """Remove a file or a folder, if it is there; from its first deletion on it no longer exists."""
    copy = around(path)
    if copy:
        copy.storage.delete(f"{copy.key(path)}/{WHOLE}")
        copy.storage.delete(copy.key(path))
    _remove(path)


def forget(path: Path) -> None:
    """Remove a file or a folder from this machine if a store has it."""
    if around(path):
        _remove(path)


def holds(path: Path) -> bool:
    """Return whether a file or a whole folder is there."""
    copy = around(path)
    if copy is None:
        return path.exists()
    return any(copy.storage.stamp(key) for key in (copy.key(path), f"{copy.key(path)}/{WHOLE}"))


def glob(folder: Path, pattern: str) -> list[Path]:
    """Return the files and folders below `folder` whose names match a pattern, sorted."""
    copy = around(folder)
    if copy is None:
        return sorted(folder.glob(pattern))
    wanted = pattern.split("/")
    keys = [key.split("/")[: len(wanted)] for key in copy.storage.files(copy.key(folder))]
    deep = (names for names in keys if len(names) == len(wanted))
    found = (names for names in deep if all(map(fnmatch.fnmatchcase, names, wanted)))
    return sorted({folder.joinpath(*names) for names in found})


def size(path: Path) -> float | None:
    """Return the bytes below a folder in the store; None for a plain folder."""
    copy = around(path)
    if copy is None:
        return None
    return float(sum(stamp.size for stamp in copy.storage.files(copy.key(path)).values()))


def refresh(folder: Path, wanted: Callable[[str], bool]) -> None:
    """Make the files below a folder whose paths are wanted equal to those in the store."""
    copy = around(folder)
    if copy is None:
        return
    there = copy.storage.files(copy.key(folder))

    def download(name: str) -> None:
        file, written = folder / name, there[name].time
        if copy.storage.get(copy.key(file), file):
            # Written again within the same second it would look the same: it is not trusted.
            settled = time.time() - written > _RACY_SECONDS
            os.utime(file, (written, written) if settled else (0, 0))

    with ThreadPoolExecutor(_AT_A_TIME) as pool:
        stale = (name for name, stamp in there.items() if not _is_fresh(folder / name, stamp))
        list(pool.map(download, filter(wanted, stale)))
    for file in [file for file in folder.rglob("*") if file.is_file()]:
        name = file.relative_to(folder).as_posix()
        private = file.name.startswith(".") or file.suffix in (".lock", ".partial")
        if name not in there and wanted(name) and not private:
            file.unlink(missing_ok=True)


def share(paths: Iterable[Path]) -> None:
    """Let the driver's node and the store have the inputs of a sweep that came along with it.

    Each lies in a folder two names below the results: ``inputs/3f2a``, ``rehearsal-bases/git``.
    """
    for folder in _inputs(paths):
        if not folder.exists():  # the sweep resumes on another machine
            pull(folder)
        elif not ((folder / WHOLE).exists() and holds(folder)):
            push(folder)


def fetch(address: str, paths: Iterable[Path]) -> None:
    """Download such inputs to another node, once for all of its processes."""
    places.working(address, places.DRIVER)
    for folder in _inputs(paths):
        folder.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(folder.with_name(f".{folder.name}.lock")):
            pull(folder)


def _put_folder(storage: Storage, folder: Path, key: str) -> None:
    """Put a folder of this machine in place of one in the store."""
    found = [path for path in sorted(folder.rglob("*")) if path.is_file() and path.name != WHOLE]
    files = {str(path.relative_to(folder)): path.stat().st_size for path in found}
    storage.delete(f"{key}/{WHOLE}")
    with ThreadPoolExecutor(_AT_A_TIME) as pool:
        list(pool.map(lambda name: storage.put(folder / name, f"{key}/{name}"), files))
        left = storage.files(key).keys() - files.keys()
        list(pool.map(lambda name: storage.delete(f"{key}/{name}"), left))
    whole = json.dumps({"word": secrets.token_hex(8), "files": files})
    storage.write(f"{key}/{WHOLE}", whole.encode())
    (folder / WHOLE).write_text(whole)


def _get_folder(storage: Storage, key: str, folder: Path) -> bool:
    """Put a folder of the store in place of `folder`; return False where there is none.

    One that this machine has already stays. Raises StorageError for one that changes all the
    time, or whose files are not those that it names.
    """
    for _ in range(_TRIES):
        whole = storage.read(f"{key}/{WHOLE}")
        if whole is None:
            return False
        own = folder / WHOLE
        if own.is_file() and own.read_bytes() == whole:
            return True
        partial = folder.with_name(f".{folder.name}.{secrets.token_hex(4)}.partial")
        try:
            if _fetched(storage, key, partial, json.loads(whole)["files"]):
                (partial / WHOLE).write_bytes(whole)
                if storage.read(f"{key}/{WHOLE}") == whole:
                    shutil.rmtree(folder, ignore_errors=True)
                    partial.rename(folder)
                    return True
        finally:
            shutil.rmtree(partial, ignore_errors=True)
    reason = OSError("its files are not those that it names")
    raise storage_error(f"{storage.address}/{key}", reason)


def _fetched(storage: Storage, key: str, folder: Path, files: dict[str, int]) -> bool:
    """Download files; return whether each is there with its size."""
    folder.mkdir(parents=True)

    def fetch(name: str) -> bool:
        file = folder / name
        return storage.get(f"{key}/{name}", file) and file.stat().st_size == files[name]

    with ThreadPoolExecutor(_AT_A_TIME) as pool:
        return all(pool.map(fetch, files))


def _inputs(paths: Iterable[Path]) -> set[Path]:
    found = [(copy.root, path) for path in paths if (copy := around(path))]
    return {root.joinpath(*path.relative_to(root).parts[:2]) for root, path in found}


def _is_fresh(file: Path, stamp: Stamp) -> bool:
    try:
        here = file.stat()
    except FileNotFoundError:
        return False
    return here.st_size == stamp.size and here.st_mtime == stamp.time


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)
