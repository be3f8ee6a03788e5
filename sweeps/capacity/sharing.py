"""How many hosts the memory of a machine without GPUs holds."""

from sweeps.capacity import bases, memory
from sweeps.capacity.bases import Bases
from sweeps.spec.sweep import Sweep
from workers.memory.fit import LEAST_PACK, Device
from workers.memory.footprint import CPU_CONTEXT
from workers.models import builtin

_COMFORT = 0.5
"""Share of a machine's memory that hosts may plan with: the driver, Ray, Java and the processes of
trials live there, too, and one host that trains is worth more than two that swap."""


def hosts_that_fit(sweep: Sweep, machine: float) -> int | None:
    """Return how many hosts have room in `machine` bytes, each with a pack of trials.

    None where the base is not on this machine yet, and so its size not known, and where the sweep
    names a number of hosts.
    """
    each = _host_bytes(sweep) if sweep.resources.hosts == "auto" else None
    return None if each is None else int(_COMFORT * machine / each)


def _host_bytes(sweep: Sweep) -> float | None:
    """Return the bytes of a host with the bases of all groups and a small pack."""
    there, names = bases.found(sweep), [base for base, _ in bases.names(sweep)]
    if len(there) < len(names):
        built_in = all(base in builtin.BASES for base in names)
        return CPU_CONTEXT + sum(builtin.BASES[base].bytes for base in names) if built_in else None
    unlimited = Device(gpu=False, bytes=float("inf"))
    found = memory.capacity(sweep, Bases(there), unlimited)
    return found.one.times(min(LEAST_PACK, found.slots)).total
