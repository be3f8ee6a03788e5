"""Whether the disk has room for a sweep, said before it starts."""

import math
from pathlib import Path

from sweeps import disk
from sweeps.disk import in_words
from sweeps.fleet.device import machine_bytes
from sweeps.fleet.sharing import hosts_that_fit
from sweeps.plan import largest_adapter
from sweeps.resources import Layout, layout, local_cpus, local_gpus
from sweeps.spec import Sweep
from sweeps.sweep import Resources
from workers import checkpoint_files


def warning(sweep: Sweep, results: Path) -> str | None:
    """Return a warning when the disk of the results lacks room, else None.

    Nothing is known before the base is on this machine.
    """
    files = checkpoint_files.find(sweep.model.base, sweep.model.revision)
    if files is None:
        return None
    plan = _layout(sweep.resources, hosts_that_fit(sweep, machine_bytes()))
    expected = disk.expected_bytes(sweep, largest_adapter(sweep, files), plan)
    free, limit = disk.free(results), (sweep.disk.limit_gb or math.inf) * disk.GB
    if min(expected, limit) + disk.MARGIN_BYTES <= free:
        return None
    return (
        f"the disk of {results} has {in_words(free)} free, and adapters and snapshots may take "
        f"{in_words(expected)}: keep fewer with disk.keep, or name another folder with --results"
    )


def _layout(wanted: Resources, fitting: int | None) -> Layout:
    """Return this machine's layout; a cluster may have room for more hosts than one machine."""
    hosts = 1 if wanted.hosts == "auto" else wanted.hosts
    cpus, gpus = max(local_cpus(), hosts), local_gpus()
    there = gpus if gpus >= hosts else 0
    return layout(wanted.hosts, wanted.slots, cpus=cpus, gpus=there, fitting=fitting)
