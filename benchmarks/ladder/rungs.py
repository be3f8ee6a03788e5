"""The rungs by name: which module runs them, and with how many processes and threads."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

QUICK_JAVA = ("-XX:ActiveProcessorCount=1", "-XX:TieredStopAtLevel=1")
"""What this project's Java gets: one collector thread, only the quick compiler."""


@dataclass(frozen=True, kw_only=True)
class Rung:
    """One way to run the trials."""

    module: str
    settings: Mapping[str, Any] = field(default_factory=dict)
    """Fields of `Job`."""
    java: tuple[str, ...] = ()
    mps: bool = False
    """Whether its processes share the GPU under NVIDIA's multi-process service."""


def rungs(gpus: int) -> dict[str, Rung]:
    """Return the rungs of a machine with so many GPUs; B2 is a rung per number of processes.

    B0 and B1 have one process per GPU, or one per core.
    """
    cores = len(os.sched_getaffinity(0))
    usual = _share(gpus or min(2, cores), cores, gpus)
    b1, p = "benchmarks.ladder.b1", "benchmarks.ladder.p"
    found = {
        "B0": Rung(module="benchmarks.ladder.b0", settings=usual),
        "B0m": Rung(module="benchmarks.ladder.b0", settings={**usual, "keep_meteor": True}),
        "B1": Rung(module=b1, settings=usual, java=QUICK_JAVA),
        "B3": Rung(module=b1, settings={**usual, "compiled": True}, java=QUICK_JAVA),
        "P": Rung(module=p, settings={"processes": 0, "gpus": gpus}),
    }
    for k in (1, 2, 4, 8):
        share = _share(k * max(1, gpus), cores, gpus)
        found[f"B2x{k}"] = Rung(module=b1, settings=share, java=QUICK_JAVA)
        if gpus and k > 1:
            found[f"B2x{k}mps"] = Rung(module=b1, settings=share, java=QUICK_JAVA, mps=True)
    return found


def _share(processes: int, cores: int, gpus: int) -> dict[str, int]:
    return {"processes": processes, "threads": max(1, cores // processes), "gpus": gpus}
