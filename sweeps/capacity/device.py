"""The memory of this machine's devices, without importing torch."""

import os
import re
from dataclasses import dataclass
from pathlib import Path

_CGROUP = Path("/sys/fs/cgroup/memory.max")
_UNITS = {"": 1e9, "GB": 1e9, "G": 1e9, "GIB": 2.0**30, "TB": 1e12, "MB": 1e6, "MIB": 2.0**20}


@dataclass(frozen=True, kw_only=True)
class Card:
    """A GPU as NVIDIA's driver describes it."""

    name: str
    bytes: float


def cards() -> list[Card]:
    """Return the machine's GPUs; none where there is no NVIDIA driver or it fails."""
    import pynvml  # here: most machines that plan a sweep have no GPU

    try:
        pynvml.nvmlInit()
        handles = map(pynvml.nvmlDeviceGetHandleByIndex, range(pynvml.nvmlDeviceGetCount()))
        name, memory = pynvml.nvmlDeviceGetName, pynvml.nvmlDeviceGetMemoryInfo
        return [Card(name=name(each), bytes=float(memory(each).total)) for each in handles]
    except pynvml.NVMLError:
        return []


def machine_bytes(limit: Path = _CGROUP) -> float:
    """Return the memory that this process may use: the machine's, or its container's."""
    whole = float(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
    written = limit.read_text().strip() if limit.is_file() else "max"
    return whole if written == "max" else min(whole, float(written))


def memory_of(text: str) -> float:
    """Return the bytes of ``24GB``, ``80 GiB`` or ``24`` (GB); raises ValueError for no size."""
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([A-Za-z]*)\s*", text)
    if not match or match[2].upper() not in _UNITS or not float(match[1]):
        raise ValueError(f"--gpu-memory must be a size above 0 such as 24GB or 80GiB, got {text!r}")
    return float(match[1]) * _UNITS[match[2].upper()]
