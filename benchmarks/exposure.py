"""What a process and all that it started show to others: open ports and command lines (Linux)."""

import threading
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Any, Self

import psutil

from workers.data.network import is_loopback

Socket = tuple[str, int]
"""Address and port, such as ``("127.0.0.1", 5000)``; ``::`` and ``0.0.0.0`` are all addresses."""

PAUSE_SECONDS = 0.1


def tree(pid: int) -> list[psutil.Process]:
    """Return a process and its descendants that live now; none when it has ended.

    A descendant whose parent has ended is not among them: look while all are there.
    """
    try:
        root = psutil.Process(pid)
        return [root, *root.children(recursive=True)]
    except psutil.NoSuchProcess:
        return []


def listening(pid: int) -> set[Socket]:
    """Return where a process tree takes TCP connections, or UDP from anybody."""
    found: set[Socket] = set()
    for process in tree(pid):
        with suppress(psutil.NoSuchProcess):
            found.update(
                (each.laddr.ip, each.laddr.port)
                for each in process.net_connections("inet")
                if each.laddr and (each.status == psutil.CONN_LISTEN or _is_open_udp(each))
            )
    return found


def reachable(sockets: Iterable[Socket]) -> set[Socket]:
    """Return those that other machines may reach: all that are not on loopback."""
    return {each for each in sockets if not is_loopback(each[0])}


def command_lines(pid: int) -> dict[int, str]:
    """Return the command line of each process of a tree by its pid, as any user may read it."""
    lines = {}
    for process in tree(pid):
        with suppress(psutil.NoSuchProcess):
            lines[process.pid] = " ".join(process.cmdline())
    return lines


class Watch:
    """What a process tree shows from now on until the block ends, as far as it is looked at."""

    def __init__(self, pid: int, look: Callable[[set[str]], None] = lambda _: None) -> None:
        """Have `look` called with the command lines of each moment."""
        self.sockets: set[Socket] = set()
        self.commands: set[str] = set()
        self._pid = pid
        self._look = look
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._over.wait(PAUSE_SECONDS):
            self.sockets |= listening(self._pid)
            commands = set(command_lines(self._pid).values())
            self._look(commands)
            self.commands |= commands


def _is_open_udp(each: Any) -> bool:
    return each.status == psutil.CONN_NONE and not each.raddr
