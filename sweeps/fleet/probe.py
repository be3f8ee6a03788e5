"""The check that every node sees what the sweep needs there, before a trial starts.

Results, records and snapshots lie in one folder that all nodes share: a trial resumes elsewhere
from what its lost node has written there. Data and base must be the same files on every node.
"""

import hashlib
import secrets
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from sweeps.fleet.nodes import Node
from sweeps.results.folder import SweepFolder
from sweeps.spec.sweep import Sweep
from sweeps.storage import copies, places
from sweeps.storage.store import Storage, StorageError, storage_error
from workers.files import fetched
from workers.files.addresses import is_address

SECONDS = 60.0
"""A node that has not answered by then is refused; the first probe starts a process there."""


@dataclass(frozen=True, kw_only=True)
class Seen:
    """What one node reports."""

    word: str | None
    """Content of the driver's file as it read it; None when there was none."""
    error: str | None
    """Why it could not read or write the folder."""
    digests: Mapping[str, str]
    """Path of an input -> digest of what lies there."""


class Probe:
    """Compares what other nodes see with what the driver's own node sees.

    Args:
        folder: the sweep's, below the storage that all nodes share.
        sweep: names the data and the base.
    """

    def __init__(self, folder: SweepFolder, sweep: Sweep) -> None:
        self._folder = folder
        self._word = secrets.token_hex(8)
        self._storage = places.address_of(folder.root)
        data = sweep.data
        named = {"data.path": data.path, "data.images": data.images, "model.base": sweep.model.base}
        there = [path for path in named.values() if path and Path(path).is_absolute()]
        copies.share(map(Path, there))
        self._digests = {path: digest(Path(path)) for path in there if Path(path).exists()}
        for field, path in named.items():
            if path and is_address(path):
                try:
                    self._digests[path] = fetched.digest(path)
                except OSError as error:
                    raise storage_error(path, error, field) from error

    def begin(self, node: Node) -> Any:
        """Start the probe of a node; return Ray's reference of its answer."""
        self.leave_word()
        affinity = NodeAffinitySchedulingStrategy(node.id, soft=False)
        options: Any = ray.remote(look).options(
            num_cpus=0, max_retries=0, scheduling_strategy=affinity
        )
        place = places.shown(self._folder.probes)
        return options.remote(place, node.id, list(self._digests), self._storage)

    def leave_word(self) -> Path:
        """Write what the nodes must find; return the folder."""
        self._folder.write(self._folder.probes / "driver", self._word)
        return self._folder.probes

    def problem(self, node: Node, answer: Any) -> str | None:
        """Return why a node whose answer has come cannot take part; None when it can."""
        try:
            seen: Seen = ray.get(answer, timeout=0)
        except ray.exceptions.GetTimeoutError:
            return f"{node.name} did not answer within {SECONDS:.0f} seconds; see `ray status`"
        except ray.exceptions.RayError as error:
            line = str(error).strip().splitlines()[-1]
            return f"{node.name} could not be asked, is the same version installed there? ({line})"
        return self.judge(node, seen)

    def judge(self, node: Node, seen: Seen) -> str | None:
        """Return why a node that saw this cannot take part; None when it can."""
        root = places.shown(self._folder.root)
        fix = "every node must reach one shared folder there: name one with --results"
        if seen.error and places.around(self._folder.root):
            return f"{node.name}: {seen.error}"
        if seen.error:
            return f"{node.name} cannot use {root}: {seen.error}; {fix}"
        if seen.word != self._word or not self._folder.holds(self._folder.probes / node.id):
            return f"{node.name} has another folder at {root}; {fix}"
        for path, own in self._digests.items():
            if path not in seen.digests and is_address(path):
                return f"{node.name} cannot read {path}; it needs credentials and a way there"
            if path not in seen.digests:
                return f"{node.name} has no {path}; put it there, or in a folder that is shared"
            if seen.digests[path] != own:
                return f"{node.name} has other files at {path} than the driver; copy them again"
        return None


def look(place: str, name: str, paths: Sequence[str], storage: str | None = None) -> Seen:
    """Read the driver's word in a folder, leave a file called `name`, and digest the inputs.

    `place` is the folder's path, or its address in an object store; `storage` is the address of
    all results there, from which this node gets what came along with the sweep. `paths` are those
    of the inputs.
    """
    word, error = None, None
    try:
        if is_address(place):
            store = Storage(place, patience=0.0)
            content = store.read("driver")
            word = content.decode() if content else None
            store.write(name, content or b"")
        else:
            word = (Path(place) / "driver").read_text()
            (Path(place) / name).write_text(word)
        if storage:
            copies.fetch(storage, map(Path, paths))
    except StorageError as refused:
        error = str(refused)
    except OSError as refused:
        error = f"{type(refused).__name__}: {refused}"
    found = {path: digest(Path(path)) for path in paths if Path(path).exists()}
    for path in filter(is_address, paths):
        with suppress(OSError):
            found[path] = fetched.digest(path)
    return Seen(word=word, error=error, digests=found)


_WHOLE = 16_000_000
"""Files up to so many bytes are read; larger ones count by their size, ends and name."""


def digest(path: Path) -> str:
    """Return a digest of a file, or of names and sizes of all files below a folder.

    Small files that stand directly in the folder, such as captions and configuration, count with
    their content; images by their size: reading them all would take as long as an epoch.
    """
    if path.is_file():
        return _content(path)
    total = hashlib.sha256()
    for file in sorted(file for file in path.rglob("*") if file.is_file()):
        total.update(f"{file.relative_to(path)} {file.stat().st_size}\n".encode())
        if file.parent == path:
            total.update(_content(file).encode())
    return total.hexdigest()


def _content(file: Path) -> str:
    size = file.stat().st_size
    with file.open("rb") as opened:
        if size <= _WHOLE:
            return hashlib.file_digest(opened, "sha256").hexdigest()
        ends = opened.read(_WHOLE // 2)
        opened.seek(-(_WHOLE // 2), 2)
        return hashlib.sha256(ends + opened.read()).hexdigest()
