"""Folders in an object store, there whole or not at all.

A store knows files only. So a folder exists by a small file in it that is written last and removed
first, and lists what belongs to it.
"""

import json
import secrets
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from sweeps.storage.store import Storage, storage_error

WHOLE = ".whole"
"""Name of that file: JSON with a random word and the size of each file."""
_AT_A_TIME = 8
_TRIES = 5


def put(storage: Storage, folder: Path, key: str) -> None:
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


def get(storage: Storage, key: str, folder: Path) -> bool:
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
    raise storage_error(
        f"{storage.address}/{key}", OSError("its files are not those that it names")
    )


def has(storage: Storage, key: str) -> bool:
    """Return whether the store has a whole folder."""
    return storage.stamp(f"{key}/{WHOLE}") is not None


def drop(storage: Storage, key: str) -> None:
    """Remove a folder; from the first deletion on it no longer exists."""
    storage.delete(f"{key}/{WHOLE}")
    storage.delete(key)


def _fetched(storage: Storage, key: str, folder: Path, files: dict[str, int]) -> bool:
    """Download files; return whether each is there with its size."""
    folder.mkdir(parents=True)

    def fetch(name: str) -> bool:
        file = folder / name
        return storage.get(f"{key}/{name}", file) and file.stat().st_size == files[name]

    with ThreadPoolExecutor(_AT_A_TIME) as pool:
        return all(pool.map(fetch, files))
