"""All ways of training take turns in one process, with one thread, so that all see one machine."""

import os
import time
from collections.abc import Callable, Iterator
from typing import Any

import torch

from benchmarks.packing import packed, plain
from benchmarks.packing.case import Case, batches, load

PLAIN, FUSED = "plain peft", "plain, fused AdamW"
Steps = Callable[[int], None]
"""Trains each adapter of a way for a number of steps."""


def play(case: Case, packs: list[int], rounds: int) -> Iterator[dict[str, Any]]:
    """Yield what is stored of each way in each round: CPU seconds of an adapter's step."""
    torch.set_num_threads(1)
    ways = _ways(case, packs)
    for steps, _ in ways.values():
        steps(case.warmup)
    for number in range(rounds):
        for name, (steps, adapters) in ways.items():
            load_before, started = os.getloadavg()[0], time.process_time()
            steps(case.steps)
            spent = time.process_time() - started
            yield {
                "quantization": case.quantization,
                "batch": case.batch,
                "way": name,
                "round": number,
                "cpu": spent / case.steps / adapters,
                "load": load_before,
            }


def _ways(case: Case, packs: list[int]) -> dict[str, tuple[Steps, int]]:
    """Return name -> what trains its adapters, and how many; each way has a base of its own."""
    ways: dict[str, tuple[Steps, int]] = {}
    for name, fused in ((PLAIN, False), (FUSED, True)):
        base = load(case)
        ways[name] = plain.loop(base, case, batches(base, case), fused=fused), 1
    for slots in packs:
        ways[f"pack of {slots}"] = packed.loop(load(case), case, slots), slots
    return ways
