"""What every node of a cluster must have before a sweep begins on it: this package in the driver's
version, the results' folder, and what the sweep file names by absolute paths."""

import secrets
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from sweeps.jobs.inputs import Input
from sweeps.jobs.version import own

LOOK_SECONDS = 120.0
"""So long a node may take to look: its first worker imports Ray."""


def refuse_unfit(inputs: Sequence[Input], results: Path) -> None:
    """Join the cluster and ask each node to look; raises ValueError with all that is missing."""
    from sweeps.cluster import connect

    connect()
    probe = results / f".probe-{secrets.token_hex(4)}"
    probe.mkdir(parents=True)
    try:
        faults = list(_faults(inputs, probe))
    finally:
        shutil.rmtree(probe)
    if faults:
        raise ValueError("; ".join(faults))


def look(node: str, probe: str, paths: Sequence[str]) -> tuple[str, bool, list[str]]:
    """Return, on a node, its version of this package, whether it can write into the folder
    `probe` that the driver made, and which of the paths are not there."""
    try:
        Path(probe, node).touch()
        writes = True
    except OSError:
        writes = False
    return own(), writes, [path for path in paths if not Path(path).exists()]


def faults_of(
    place: str, seen: tuple[str, bool, list[str]], inputs: Sequence[Input], results: Path
) -> Iterator[str]:
    """Yield in words what is missing on a node."""
    version, writes, missing = seen
    if version != own():
        yield f"{place} has version {version or 'none'} of this package, the driver has {own()}"
    if not writes:
        yield (
            f"{place} cannot write to {results}: --results must be a folder on storage that every "
            "node sees at the same path"
        )
    for one in inputs:
        if one.path in missing:
            yield f"{one.field}: {one.path} must be on every node, and is not on {place}"


def _faults(inputs: Sequence[Input], probe: Path) -> Iterator[str]:
    import ray

    paths = [one.path for one in inputs]
    alive = [node for node in ray.nodes() if node["Alive"]]  # type: ignore[no-untyped-call]
    calls = [_call(node["NodeID"], probe, paths) for node in alive]
    for node, call in zip(alive, calls, strict=True):
        place = f"node {node['NodeManagerHostname']}"
        try:
            seen = ray.get(call, timeout=LOOK_SECONDS)
        except ray.exceptions.RayError as error:
            yield _unable(place, str(error))
        else:
            yield from faults_of(place, seen, inputs, probe.parent)


def _call(node: str, probe: Path, paths: Sequence[str]) -> Any:
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    here = NodeAffinitySchedulingStrategy(node, soft=False)
    task = ray.remote(look).options(num_cpus=0, max_retries=0, scheduling_strategy=here)
    return task.remote(node, str(probe), paths)


def _unable(place: str, error: str) -> str:
    if "No module named" in error:
        return f"{place} has not installed this package: install it on every node"
    return f"{place} cannot run a task: {error.strip().splitlines()[-1]}"
