"""How many hosts run on one machine and what each of them gets."""

import math
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from sweeps.spec.search_checks import CONSTRAINTS, OBJECTIVE
from sweeps.spec.sweep import Sweep
from workers.measures import MEASURES

if TYPE_CHECKING:
    from sweeps.spec.sweep import Resources

CORES_PER_HOST = 4
"""On a CPU one host serves up to this many cores; small models gain nothing from more."""
_HOSTS_OF_FEW_CORES = 2
"""Hosts of a machine with fewer cores than these would serve: with a core for each of them small
models train in half the time."""

_HOST_SHARE = 0.9
"""Share of the cores that hosts reserve; the rest is for the driver and what else runs there."""


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


def units(cpus: int, gpus: int, gpus_per_host: float = 1.0) -> int:
    """Return the most hosts for a machine: as many as share its GPUs, else one per core.

    A host's share lies on one GPU: of two GPUs, hosts of 0.4 each get four places, not five.
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

    ``auto`` is one host per GPU, or per share `gpus_per_host` of one, without GPUs see
    `cpu_hosts`, and one slot per host: how many fit is known where the base is, see
    `sweeps.capacity.memory`.
    Raises ValueError, naming ``resources.hosts``, for more hosts than GPUs or cores.
    """
    most = units(cpus, gpus, gpus_per_host)
    count = (most if gpus else cpu_hosts(cpus, fitting)) if hosts == "auto" else hosts
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


def cpu_hosts(cpus: int, fitting: int | None) -> int:
    """Return how many hosts ``auto`` is on a machine with so many cores and no GPU.

    One per `CORES_PER_HOST` cores, and two where there are at least two cores, as long as its
    memory is `fitting` so many of them (`sweeps.capacity.sharing`). Where that is not known, a
    small machine has one.
    """
    by_cores = max(1, cpus // CORES_PER_HOST)
    if fitting is None:
        return by_cores
    return max(1, min(max(by_cores, min(cpus, _HOSTS_OF_FEW_CORES)), fitting))


def refuse_cpu(wanted: "Resources", plan: Layout) -> None:
    """Raise ValueError when the sweep wants GPUs and its hosts would train on a CPU."""
    if wanted.device == "gpu" and not plan.gpus_per_host:
        raise ValueError(
            "resources.device: wants a GPU, and there is none that may be used; add one (to a "
            "cluster, a node whose `ray status` shows it), or set auto to train on the CPU"
        )


def local_layout(wanted: "Resources", fitting: int | None) -> Layout:
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
    """Return the number of NVIDIA GPUs that this process may use, without importing torch."""
    devices = len(list(device_files.glob("nvidia[0-9]*")))
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is None:
        return devices
    return min(
        devices, len([part for part in visible.split(",") if part.strip() not in ("", "-1")])
    )


def refuse(sweep: Sweep, layout: Layout) -> None:
    """Raise ValueError for a budget in GPU hours where no host has a GPU: nothing would use it."""
    if sweep.search.budget.gpu_hours is not None and not layout.gpus_per_host:
        raise ValueError(
            "search.budget.gpu_hours: there is no GPU here, so none of it would ever be used; "
            "set search.budget.hours"
        )


def refuse_unmeasured(sweep: Sweep, plan: Layout) -> None:
    """Raise ValueError for an objective or a limit of what these hosts do not measure."""
    if plan.gpus_per_host:
        return
    for name in sweep.search.quantities:
        if name in MEASURES and MEASURES[name].gpu:
            at = CONSTRAINTS if name in sweep.search.limited else OBJECTIVE
            raise ValueError(
                f"{'.'.join(at)}: {name} is measured on GPUs only, and the hosts have none; "
                "take it out, or run the sweep on GPUs"
            )
