"""Which nodes take part in a sweep: those that live and reach all that it needs there."""

import time
from collections.abc import Callable
from typing import Any

import ray

from sweeps.fleet import nodes as cluster_nodes
from sweeps.fleet.nodes import Node
from sweeps.fleet.probe import SECONDS, Probe
from sweeps.storage.store import StorageError


class Membership:
    """The nodes of one sweep, as Ray sees them from time to time.

    Args:
        probe: checks what a node reaches.
        notify: prints a line for the user of the driver.
    """

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
