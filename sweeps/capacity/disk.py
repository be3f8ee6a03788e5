"""The disk space that a sweep needs, estimated before it starts."""

import math
from pathlib import Path

from sweeps.capacity.device import machine_bytes
from sweeps.capacity.layout import Layout, layout, local_cpus, local_gpus
from sweeps.capacity.memory import hosts_that_fit
from sweeps.results import retention
from sweeps.results.retention import KEPT_SNAPSHOTS, format_bytes
from sweeps.spec import plugins
from sweeps.spec.sweep import Sweep
from workers.models import checkpoint_files
from workers.models.checkpoint_files import CheckpointFiles

ADAPTER_BYTES, SNAPSHOT_BYTES = 4, 12
"""Bytes on disk per weight: of an adapter, and of a snapshot with Adam's two moments."""


def warning(sweep: Sweep, results: Path) -> str | None:
    """Return a warning when the disk of the results lacks room; None also for an unknown base."""
    files = checkpoint_files.find(sweep.model.base, sweep.model.revision)
    if files is None:
        return None
    # This machine's layout; a cluster may have room for more hosts than one machine.
    wanted, fitting = sweep.resources, hosts_that_fit(sweep, machine_bytes())
    hosts = 1 if wanted.hosts == "auto" else wanted.hosts
    cpus, gpus = max(local_cpus(), hosts), local_gpus()
    gpus = gpus if gpus >= hosts else 0
    plan = layout(wanted.hosts, wanted.slots, cpus=cpus, gpus=gpus, fitting=fitting)
    expected = expected_bytes(sweep, largest_adapter(sweep, files), plan)
    free, limit = retention.free(results), (sweep.disk.limit_gb or math.inf) * retention.GB
    if min(expected, limit) + retention.MARGIN_BYTES <= free:
        return None
    return (
        f"the disk of {results} has {format_bytes(free)} free, and adapters and snapshots may take "
        f"{format_bytes(expected)}: keep fewer with disk.keep, or name another folder with "
        "--results"
    )


def expected_bytes(sweep: Sweep, weights: int, plan: Layout) -> float:
    """Return the bytes that a sweep has on disk at most, with adapters of `weights` weights."""
    kept = min(sweep.search.trials, sweep.disk.keep or sweep.search.trials)
    # One more of each exists while the next one is written.
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
