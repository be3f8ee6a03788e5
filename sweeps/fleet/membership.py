"""Which nodes take part in a sweep: those that live and reach all that it needs there."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import ray

from sweeps.fleet import nodes as cluster_nodes
from sweeps.fleet.nodes import Node
from sweeps.fleet.probe import SECONDS, Probe
from sweeps.storage.errors import StorageError


@dataclass(frozen=True, kw_only=True)
class PendingNode:
    """A node that has joined and is yet to answer the probe."""

    node: Node
    answer: Any
    """Ray's reference of it."""
    until: float
    """How long to wait, by `time.monotonic`."""


class Membership:
    """The nodes of one sweep, as Ray sees them from time to time.

    Args:
        probe: finds out what a node reaches.
        say: prints a line for whoever watches the driver.
    """

    def __init__(self, probe: Probe, say: Callable[[str], None]) -> None:
        self._probe, self._say = probe, say
        self._alive: dict[str, Node] = {}
        """By id, every node that was alive when last looked at."""
        self._usable: dict[str, Node] = {}
        """Those of them that take part."""
        self._asked: list[PendingNode] = []

    @property
    def usable(self) -> list[Node]:
        """The nodes that may get hosts."""
        return list(self._usable.values())

    @property
    def awaited(self) -> list[Any]:
        """Ray's references of answers that may still bring nodes in."""
        return [asked.answer for asked in self._asked]

    def begin(self) -> None:
        """Take all nodes that live; raises StorageError for those that lack something."""
        own = ray.get_runtime_context().get_node_id()
        nodes = cluster_nodes.alive()
        problems = self._probe.problems([node for node in nodes if node.id != own])
        if problems:  # unless it is only that one of them died while it was asked
            nodes = cluster_nodes.alive()
        told = [problems[node] for node in nodes if node in problems]
        if told:
            raise StorageError("\n".join(told))
        self._alive = {node.id: node for node in nodes}
        self._usable = dict(self._alive)

    def look(self) -> tuple[list[Node], bool]:
        """Return the nodes that have left since the last look, and whether usable ones joined."""
        now = {node.id: node for node in cluster_nodes.alive()}
        left = [node for id_, node in self._alive.items() if id_ not in now]
        until = time.monotonic() + SECONDS
        self._asked = [asked for asked in self._asked if asked.node.id in now] + [
            PendingNode(node=node, answer=self._probe.begin(node), until=until)
            for id_, node in now.items()
            if id_ not in self._alive
        ]
        self._alive = now
        for node in left:
            self._usable.pop(node.id, None)
        return left, self._admit()

    def refuse(self, node: Node) -> None:
        """Give a node no further hosts."""
        self._usable.pop(node.id, None)

    def _admit(self) -> bool:
        """Let those nodes take part that have answered well; say why others do not."""
        admitted = False
        for asked in list(self._asked):
            ready, _ = ray.wait([asked.answer], timeout=0)
            if not ready and time.monotonic() < asked.until:
                continue
            self._asked.remove(asked)
            problem = self._probe.problem(asked.node, asked.answer)
            if problem:
                self._say(f"{problem}; the sweep goes on without it")
            else:
                self._usable[asked.node.id] = asked.node
                admitted = True
        return admitted
