"""Base models and data in an object store: each node fetches them once into its cache folder.

What was fetched is listed in a manifest with the sizes and times in the store. Each use asks the
store once more: what is missing, truncated, or newer there is fetched again. While the store is
unreachable, what is complete here is used as it is.
"""

import hashlib
import json
import re
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from filelock import FileLock

from workers.files import cache
from workers.files.addresses import is_address, opened
from workers.files.atomic import atomic_path
from workers.redaction import redact

_AT_A_TIME = 8
Manifest = dict[str, list[float]]
"""Path below the address -> bytes, and seconds since 1970; an address of one file has one name."""


def local(place: str, field: str) -> str:
    """Return a path or a hub name as it is, and for an address where it lies on this node.

    One process of a node fetches it while the others wait. Raises ValueError, naming `field`,
    when it can neither be fetched nor is here.
    """
    if not is_address(place):
        return place
    folder = _folder(place)
    cache.make(folder.parent)
    with FileLock(folder.with_name(f"{folder.name}.lock")):
        try:
            there = listing(place)
            _fetch(place, folder, there)
        except OSError as error:
            there = _written(folder)
            if not there or _broken(folder, there):
                raise ValueError(
                    f"{field}: {redact(place)} cannot be fetched: {error}; check the address, and "
                    "that this node has credentials and a way there"
                ) from error
    (single, *more) = there
    is_file = not more and single == _name(place)
    return str(folder / single if is_file else folder)


def listing(address: str) -> Manifest:
    """Return what the store has at an address; raises OSError when it has nothing there."""
    from pyarrow.fs import FileSelector

    files, base = opened(address)
    itself = files.get_file_info(base)
    if itself.is_file:
        return {_name(address): _stamp(itself)}
    infos = files.get_file_info(FileSelector(base, recursive=True, allow_not_found=True))
    found = {info.path[len(base) + 1 :]: _stamp(info) for info in infos if info.is_file}
    if not found:
        raise FileNotFoundError(f"there is nothing at {redact(address)}")
    return found


def digest(address: str) -> str:
    """Return a digest of what the store has there: names, sizes and times, not contents."""
    return hashlib.sha256(json.dumps(sorted(listing(address).items())).encode()).hexdigest()


def is_here(place: str) -> Path | None:
    """Return where an address lies on this node, or None when it was not fetched."""
    return _folder(place) if is_address(place) and _written(_folder(place)) else None


def _fetch(address: str, folder: Path, there: Manifest) -> None:
    """Bring a folder to exactly the files of the store."""
    here = _written(folder)
    wanted = [name for name in there if here.get(name) != there[name]]
    wanted += [name for name in _broken(folder, there) if name not in wanted]
    if not wanted and here.keys() == there.keys():
        return
    _manifest(folder).unlink(missing_ok=True)
    for name in here.keys() - there.keys():
        (folder / name).unlink(missing_ok=True)
    files, base = opened(address)
    single = files.get_file_info(base).is_file
    with ThreadPoolExecutor(_AT_A_TIME) as pool:
        sources = [base if single else f"{base}/{name}" for name in wanted]
        list(pool.map(lambda source, name: _copy(files, source, folder / name), sources, wanted))
    if broken := _broken(folder, there):
        raise OSError(f"it changes while it is fetched: {', '.join(broken[:3])}")
    _manifest(folder).write_text(json.dumps(there))


def _copy(files: Any, source: str, file: Path) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    with (
        atomic_path(file) as partial,
        files.open_input_stream(source) as stream,
        partial.open("wb") as written,
    ):
        shutil.copyfileobj(stream, written, 16_000_000)


def _broken(folder: Path, there: Manifest) -> list[str]:
    """Return the files that are not here with their sizes."""
    sizes = ((name, folder / name, size) for name, (size, _) in there.items())
    return [name for name, file, size in sizes if not file.is_file() or file.stat().st_size != size]


def _written(folder: Path) -> Manifest:
    try:
        found: Manifest = json.loads(_manifest(folder).read_text())
    except (FileNotFoundError, ValueError):
        return {}
    return found


def _manifest(folder: Path) -> Path:
    return folder.with_name(f"{folder.name}.json")


def _stamp(info: Any) -> list[float]:
    return [info.size, info.mtime.timestamp() if info.mtime else 0.0]


def _name(address: str) -> str:
    return address.partition("?")[0].rstrip("/").rpartition("/")[2]


def _folder(address: str) -> Path:
    key = hashlib.sha256(address.encode()).hexdigest()[:8]
    readable = re.sub(r"[^A-Za-z0-9.-]+", "-", _name(address))
    return cache.folder().absolute() / "fetched" / f"{readable}-{key}"
