"""The ways in which several adapters train at a time on one device, each measured the same way."""

import resource
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from threading import BrokenBarrierError
from typing import Any

import torch

from benchmarks.packing.case import Case, batches, load

START_LIMIT = 900.0
"""Seconds that processes wait for each other before the clock runs."""


@dataclass(frozen=True, kw_only=True)
class Way:
    """How it is done."""

    name: str
    processes: int = 1
    slots: int = 0
    """Adapters that one process trains packed; 0 is one adapter by the plain loop."""
    fused: bool = True
    """Whether the plain loop's AdamW is that of one flat tensor, see `plain.loop`."""
    mps: bool = False
    """Whether the processes share the GPU under NVIDIA's multi-process service."""

    @property
    def adapters(self) -> int:
        """Adapters that train at a time."""
        return self.processes * max(1, self.slots)


@dataclass(frozen=True, kw_only=True)
class Speed:
    """What a way reached."""

    steps_per_second: float
    """Of all adapters together."""
    gib: float
    """Most memory of the device that torch reserved, all processes together and without their
    contexts; on a CPU the largest resident memory of the processes."""


def measure(case: Case, way: Way) -> Speed:
    """Run the way's processes until the last one has done its steps.

    They are new ones, so that nothing of an earlier way is left on the device; the caller's process
    must not have touched it, for they may be forks of it. Raises what one of them raised.
    """
    context = get_context()
    barrier = context.Barrier(way.processes, timeout=START_LIMIT)
    with ProcessPoolExecutor(
        way.processes, context, initializer=_remember, initargs=(barrier,)
    ) as pool:
        futures = [pool.submit(_run, case, way) for _ in range(way.processes)]
        errors = [error for future in futures if (error := future.exception())]
        if errors:  # those of processes that waited in vain for the one that failed come last
            raise min(errors, key=lambda error: isinstance(error, BrokenBarrierError))
        seconds, gib = zip(*(future.result() for future in futures), strict=True)
    return Speed(steps_per_second=way.adapters * case.steps / max(seconds), gib=sum(gib))


_barrier: Any = None


def _remember(barrier: Any) -> None:
    """Keep the barrier, which can be handed to a process at its start only."""
    global _barrier
    _barrier = barrier


def _run(case: Case, way: Way) -> tuple[float, float]:
    """Return the seconds of the timed steps, and GiB."""
    try:
        # Here: peft imports bitsandbytes, which touches the GPU: nothing may be forked after that.
        from benchmarks.packing import packed, plain

        if case.device == "cpu":
            torch.set_num_threads(1)
        base = load(case)
        if way.slots:
            seconds = plain.seconds(packed.loop(base, case, way.slots), case, _barrier.wait)
        else:
            loop = plain.loop(base, case, batches(base, case), fused=way.fused)
            seconds = plain.seconds(loop, case, _barrier.wait)
        return seconds, _peak(case)
    except BaseException:
        _barrier.abort()
        raise


def _peak(case: Case) -> float:
    if case.device == "cpu":
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024**2
    return torch.cuda.max_memory_reserved() / 1024**3
