"""Whether the disk has room for a sweep, said before it starts."""

import math
from pathlib import Path

from sweeps.capacity.device import machine_bytes
from sweeps.capacity.layout import Layout, layout, local_cpus, local_gpus
from sweeps.capacity.sharing import hosts_that_fit
from sweeps.results import retention
from sweeps.results.retention import KEPT_SNAPSHOTS, format_bytes
from sweeps.spec import plugins
from sweeps.spec.sweep import Resources, Sweep
from workers.models import checkpoint_files
from workers.models.checkpoint_files import CheckpointFiles

ADAPTER_BYTES, SNAPSHOT_BYTES = 4, 12
"""Bytes on disk of a weight; with Adam's two moments."""


def warning(sweep: Sweep, results: Path) -> str | None:
    """Return a warning when the disk of the results lacks room, else None.

    Nothing is known before the base is on this machine.
    """
    files = checkpoint_files.find(sweep.model.base, sweep.model.revision)
    if files is None:
        return None
    plan = _layout(sweep.resources, hosts_that_fit(sweep, machine_bytes()))
    expected = expected_bytes(sweep, largest_adapter(sweep, files), plan)
    free, limit = retention.free(results), (sweep.disk.limit_gb or math.inf) * retention.GB
    if min(expected, limit) + retention.MARGIN_BYTES <= free:
        return None
    return (
        f"the disk of {results} has {format_bytes(free)} free, and adapters and snapshots may take "
        f"{format_bytes(expected)}: keep fewer with disk.keep, or name another folder with "
        "--results"
    )


def _layout(wanted: Resources, fitting: int | None) -> Layout:
    """Return this machine's layout; a cluster may have room for more hosts than one machine."""
    hosts = 1 if wanted.hosts == "auto" else wanted.hosts
    cpus, gpus = max(local_cpus(), hosts), local_gpus()
    there = gpus if gpus >= hosts else 0
    return layout(wanted.hosts, wanted.slots, cpus=cpus, gpus=there, fitting=fitting)


def expected_bytes(sweep: Sweep, weights: int, plan: Layout) -> float:
    """Return the most that a sweep has on disk at a time, with adapters of so many weights."""
    kept = min(sweep.search.trials, sweep.disk.keep or sweep.search.trials)
    # One more of each is there while the next one is written.
    running = 2 * ADAPTER_BYTES + (KEPT_SNAPSHOTS + 1) * SNAPSHOT_BYTES
    # Trials that wait for each other keep their snapshots without a slot.
    waits = plugins.scheduler(sweep.schedule.name).PAUSES
    at_a_time = sweep.search.trials if waits else plan.concurrent_trials
    return float(weights) * (kept * ADAPTER_BYTES + at_a_time * running)


def largest_adapter(sweep: Sweep, files: CheckpointFiles) -> int:
    """Return the trained weights of the largest adapter that the space allows."""
    ranks = sweep.swept("adapter.rank", sweep.adapter.rank)
    targets = sweep.swept("adapter.targets", sweep.adapter.targets)
    return max(files.adapter_weights(target, int(max(ranks))) for target in targets)
