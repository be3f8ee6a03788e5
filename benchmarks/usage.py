"""What this process and the Javas it starts take of the machine; reads Linux's /proc."""

import os
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import psutil

MIB = 1024.0


@dataclass
class Usage:
    """Filled when the measured block ends."""

    cpu: float = 0.0
    """Seconds of this process and all its children, those that ended included."""
    wall: float = 0.0
    """Seconds."""


@contextmanager
def measured() -> Iterator[Usage]:
    """Measure a block. Children that it leaves running count with what they have used by then."""
    usage, cpu, wall = Usage(), _cpu(), time.perf_counter()
    yield usage
    usage.cpu, usage.wall = _cpu() - cpu, time.perf_counter() - wall


def javas() -> list[int]:
    """Return the process ids of the Javas that this process has running."""
    children = psutil.Process().children(recursive=True)
    return [child.pid for child in children if child.name() == "java"]


def java_peaks(pids: Iterable[int]) -> float:
    """Return the MiB that these processes took at most, each at its own time, together."""
    return sum(_status(pid, "VmHWM") for pid in pids)


@contextmanager
def peak_memory() -> Iterator[list[float]]:
    """Measure by how many MiB this process grows at most within the block; the list gets it."""
    Path("/proc/self/clear_refs").write_text("5")  # the high-water mark starts anew
    grown: list[float] = []
    before = _status(os.getpid(), "VmRSS")
    yield grown
    grown.append(_status(os.getpid(), "VmHWM") - before)


def _cpu() -> float:
    times = [psutil.Process().cpu_times()]
    for child in psutil.Process().children(recursive=True):
        with suppress(psutil.NoSuchProcess):
            times.append(child.cpu_times())
    return sum(float(t.user + t.system + t.children_user + t.children_system) for t in times)


def _status(pid: int, field: str) -> float:
    """Return a field of the process in MiB."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(float(line.split()[1]) for line in lines if line.startswith(field)) / MIB
