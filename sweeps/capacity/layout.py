"""The layout of hosts on one machine: how many, and the cores, GPUs and slots of each."""

import math
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from sweeps.capacity.device import cards, usable
from sweeps.spec.search_checks import CONSTRAINTS, OBJECTIVE
from sweeps.spec.sweep import Resources, Sweep
from workers.measures import MEASURES

CORES_PER_HOST = 4
"""On a CPU one host serves up to this many cores; small models gain nothing from more."""
_HOSTS_OF_FEW_CORES = 2
"""Hosts of a machine with fewer cores than those need: with a core each, small models train in
half the time."""
_HOST_SHARE = 0.9
"""Share of the cores that hosts reserve; the rest is for the driver and other processes."""


@dataclass(frozen=True, kw_only=True)
class Layout:
    """Hosts and slots of one sweep on one machine."""

    hosts: int
    slots: int
    """Trials that a host holds at a time."""
    gpus_per_host: float
    cpus_per_host: float
    threads: int
    """Threads of torch in each host."""

    @property
    def concurrent_trials(self) -> int:
        """Trials in flight over all hosts."""
        return self.hosts * self.slots


def most_hosts(cpus: int, gpus: int, gpus_per_host: float = 1.0) -> int:
    """Return the most hosts of a machine: as many as share its GPUs, else one per core.

    A host's share is on one GPU: two GPUs have four places for hosts of 0.4 each, not five.
    """
    return gpus * math.floor(1 / gpus_per_host + 1e-9) if gpus else cpus


def layout(
    hosts: int | Literal["auto"],
    slots: int | Literal["auto"],
    *,
    cpus: int,
    gpus: int,
    gpus_per_host: float = 1.0,
    fitting: int | None = None,
) -> Layout:
    """Return the layout for a machine with `cpus` cores and `gpus` GPUs.

    ``auto`` is one slot per host until the base is known (`sweeps.capacity.memory`), and one host
    per GPU, or per share `gpus_per_host` of one. Without GPUs it is one host per `CORES_PER_HOST`
    cores, and two where there are at least two cores, but at most the `fitting` ones for which
    there is memory (`hosts_that_fit`); where that is unknown, a small machine has one.
    Raises ValueError, naming ``resources.hosts``, for more hosts than GPUs or cores.
    """
    most = most_hosts(cpus, gpus, gpus_per_host)
    if hosts != "auto":
        count = hosts
    elif gpus:
        count = most
    else:
        count = max(1, cpus // CORES_PER_HOST)
        if fitting is not None:
            count = max(1, min(max(count, min(cpus, _HOSTS_OF_FEW_CORES)), fitting))
    if count > most:
        kind = "cores" if not gpus else "GPUs" if most == gpus else "shares of a GPU"
        raise ValueError(f"resources.hosts must be at most the {most} {kind}, got {count}")
    return Layout(
        hosts=count,
        slots=1 if slots == "auto" else slots,
        gpus_per_host=gpus_per_host if gpus else 0,
        cpus_per_host=cpus / count * _HOST_SHARE,
        threads=max(1, cpus // count),
    )


def local_layout(wanted: Resources, fitting: int | None) -> Layout:
    """Return the layout that a sweep has on this machine, whose memory holds `fitting` hosts."""
    return layout(
        wanted.hosts,
        wanted.slots,
        cpus=local_cpus(),
        gpus=local_gpus(),
        gpus_per_host=wanted.gpus_per_host,
        fitting=fitting,
    )


def local_cpus() -> int:
    """Return the cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def local_gpus(device_files: Path = Path("/dev")) -> int:
    """Return the number of NVIDIA GPUs, or slices of them, that this process may use.

    Without importing torch. Where the driver's library is missing its device files count.
    """
    if found := cards():
        return len(usable(found))
    devices = len(list(device_files.glob("nvidia[0-9]*")))
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is None:
        return devices
    return min(devices, sum(part.strip() not in ("", "-1") for part in visible.split(",")))


def refuse_gpu_budget(sweep: Sweep, plan: Layout) -> None:
    """Raise ValueError for a budget in GPU hours where no host has a GPU: nothing would use it."""
    if sweep.search.budget.gpu_hours is not None and not plan.gpus_per_host:
        raise ValueError(
            "search.budget.gpu_hours: there is no GPU here, so none of it would ever be used; "
            "set search.budget.hours"
        )


def refuse_missing_gpus(sweep: Sweep, plan: Layout) -> None:
    """Raise ValueError for a device, a budget or a measure of GPUs where no host has one."""
    if plan.gpus_per_host:
        return
    if sweep.resources.device == "gpu":
        raise ValueError(
            "resources.device: wants a GPU, and there is none that may be used; add one (to a "
            "cluster, a node whose `ray status` shows it), or set auto to train on the CPU"
        )
    refuse_gpu_budget(sweep, plan)
    for name in sweep.search.quantities:
        if name in MEASURES and MEASURES[name].gpu:
            at = CONSTRAINTS if name in sweep.search.limited else OBJECTIVE
            raise ValueError(
                f"{'.'.join(at)}: {name} is measured on GPUs only, and the hosts have none; "
                "take it out, or run the sweep on GPUs"
            )
