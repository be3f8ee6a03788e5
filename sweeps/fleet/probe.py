"""The nodes that take part in a sweep: those that see what it needs, before a trial starts there.

Results, records and snapshots lie in one folder that all nodes share: a trial resumes elsewhere
from what its lost node has written there. Data and base must be the same files on every node.
"""

import hashlib
import secrets
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from sweeps.fleet import nodes as cluster_nodes
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

    `folder` lies below the storage that all nodes share; `sweep` names the data and the base.
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


class Membership:
    """The nodes of one sweep, as Ray sees them; `notify` prints a line for the driver's user."""

    def __init__(self, probe: Probe, notify: Callable[[str], None]) -> None:
        self._probe, self._notify = probe, notify
        self._alive: dict[str, Node] = {}
        """By id, every node that was alive when last looked at."""
        self._usable: dict[str, Node] = {}
        """Those of them that take part."""
        self._pending: dict[Node, tuple[Any, float]] = {}
        """Nodes that have joined -> Ray's reference to their answer, and until when to wait."""

    @property
    def usable(self) -> list[Node]:
        """The nodes that may get hosts."""
        return list(self._usable.values())

    @property
    def awaited(self) -> list[Any]:
        """Ray's references of answers that may still bring nodes in."""
        return [answer for answer, _ in self._pending.values()]

    def begin(self) -> None:
        """Take all nodes that live; raises StorageError for those that lack something."""
        own = ray.get_runtime_context().get_node_id()
        nodes = cluster_nodes.alive()
        answers = {node: self._probe.begin(node) for node in nodes if node.id != own}
        if answers:
            ray.wait(list(answers.values()), num_returns=len(answers), timeout=SECONDS)
        found = {node: self._probe.problem(node, answer) for node, answer in answers.items()}
        problems = {node: problem for node, problem in found.items() if problem}
        if problems:  # unless it is only that one of them died while it was probed
            nodes = cluster_nodes.alive()
        lacking = [problems[node] for node in nodes if node in problems]
        if lacking:
            raise StorageError("\n".join(lacking))
        self._alive = {node.id: node for node in nodes}
        self._usable = dict(self._alive)

    def look(self) -> tuple[list[Node], bool]:
        """Return the nodes that have left since the last look, and whether usable ones joined."""
        now = {node.id: node for node in cluster_nodes.alive()}
        left = [node for id_, node in self._alive.items() if id_ not in now]
        for node in left:
            self._usable.pop(node.id, None)
        pending = {node: each for node, each in self._pending.items() if node.id in now}
        for id_, node in now.items():
            if id_ not in self._alive:
                pending[node] = (self._probe.begin(node), time.monotonic() + SECONDS)
        self._alive, self._pending, joined = now, {}, False
        for node, (answer, until) in pending.items():
            ready, _ = ray.wait([answer], timeout=0)
            if not ready and time.monotonic() < until:
                self._pending[node] = (answer, until)
            elif problem := self._probe.problem(node, answer):
                self._notify(f"{problem}; the sweep continues without it")
            else:
                self._usable[node.id], joined = node, True
        return left, joined

    def refuse(self, node: Node) -> None:
        """Give a node no further hosts."""
        self._usable.pop(node.id, None)
