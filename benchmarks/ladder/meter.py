"""A rung as a process that is timed from its start, with the CPU time of all that it starts."""

import subprocess
import sys
import threading
import time
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import psutil

INTERVAL = 0.5
"""Seconds between two looks at the processes."""
LIMIT = 3600.0
"""Seconds after which a rung is given up."""


@dataclass
class _Seen:
    """A process as it was at the last look."""

    parent: int
    own: float
    """CPU seconds of itself."""
    reaped: float
    """CPU seconds of ended children that it waited for."""


@dataclass
class Meter:
    """CPU seconds of a process and its descendants, whether they still live or not.

    A child that ended is counted by what its parent was told when it waited for it, or, for parents
    that do not wait (Ray's), by what was seen last.
    """

    root: int
    _seen: dict[int, _Seen] = field(default_factory=dict)
    _alive: set[int] = field(default_factory=set)

    def look(self) -> None:
        """Note all processes."""
        self._alive = set()
        with suppress(psutil.NoSuchProcess):
            root = psutil.Process(self.root)
            for process in (root, *root.children(recursive=True)):
                with suppress(psutil.NoSuchProcess):
                    times = process.cpu_times()
                    own, reaped = times.user + times.system, times.children_user
                    reaped += times.children_system
                    self._seen[process.pid] = _Seen(process.ppid(), own, reaped)
                    self._alive.add(process.pid)

    def seconds(self, pid: int | None = None) -> float:
        """Return the CPU seconds of a process (the root) and of all below it."""
        pid = self.root if pid is None else pid
        children = [child for child, seen in self._seen.items() if seen.parent == pid]
        alive = sum(self.seconds(child) for child in children if child in self._alive)
        ended = sum(self.seconds(child) for child in children if child not in self._alive)
        return self._seen[pid].own + alive + max(ended, self._seen[pid].reaped)


@dataclass(frozen=True, kw_only=True)
class Run:
    """A rung's process, from its start to its end."""

    started: float
    """Seconds since 1970."""
    wall: float
    """Seconds until the process had ended."""
    cpu: float
    """CPU seconds of all its processes, about half a second of each exact."""


def run(module: str, job: Path, environment: dict[str, str]) -> Run:
    """Run ``python -m module job`` in the job's folder.

    What it prints goes to ``log.txt`` there. Raises RuntimeError when it fails or takes longer than
    `LIMIT`.
    """
    with (job.parent / "log.txt").open("wb") as log:
        started = time.time()
        process = subprocess.Popen(
            [sys.executable, "-m", module, str(job)],
            cwd=job.parent, env=environment, stdout=log, stderr=subprocess.STDOUT,
        )  # fmt: skip
        meter, over = Meter(process.pid), threading.Event()
        watching = threading.Thread(target=_watch, args=(meter, over))
        meter.look()
        watching.start()
        try:
            code = process.wait(LIMIT)
        except subprocess.TimeoutExpired:
            code = _ended(process)
        finally:  # nothing of a rung outlives an interrupted measurement
            wall = time.time() - started
            _ended(process)
            over.set()
            watching.join()
    if code:
        last = (job.parent / "log.txt").read_text(errors="replace")[-2000:]
        raise RuntimeError(f"{module} ended with {code}; its last words:\n{last}")
    return Run(started=started, wall=wall, cpu=meter.seconds())


def _ended(process: subprocess.Popen[bytes]) -> int:
    """Ask a process to end, if it still runs, and return its exit code."""
    process.terminate()
    return process.wait()


def _watch(meter: Meter, over: threading.Event) -> None:
    while not over.wait(INTERVAL):
        meter.look()
