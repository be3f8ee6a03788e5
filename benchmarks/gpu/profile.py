"""(c) What a packed step launches, how busy it keeps the GPU, and what it costs the CPU."""

import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import torch
from torch.profiler import ProfilerActivity, profile

from benchmarks.gpu import cuda
from benchmarks.gpu.results import Results
from benchmarks.gpu.setting import Setting
from benchmarks.gpu.trials import RANKS, examples, filled_pack, load, recipes, samples, small_recipe
from workers.packing.pack import Pack

WARM_UP = 5
TIMED, PROFILED = 10, 2
"""Steps that are timed, and steps that are profiled, which takes longer."""
CASES: Sequence[tuple[int, int, Sequence[int]]] = (
    (16, 8, RANKS),
    (1, 8, (16,)),
    (16, 8, (16,)),
    (8, 8, (16,)),
    (1, 2, (16,)),
    (16, 2, RANKS),
    (16, 2, (16,)),
    (8, 2, (16,)),
)
"""Slots, rows of each, ranks; the most important first."""
REHEARSED: Sequence[tuple[int, int, Sequence[int]]] = ((4, 2, RANKS),)
_SYNCHRONIZING = ("cudaStreamSynchronize", "cudaDeviceSynchronize", "cudaEventSynchronize")


@dataclass(frozen=True)
class Profile:
    """What some calls of a function did on the device, as averages over the calls."""

    kernels: float
    copies: float
    """Copies and fills of memory."""
    seconds: float
    """During which the device computed."""
    waits: float
    """Calls of CUDA's synchronizing functions."""
    by_name: Counter[str]
    """Kernel -> seconds."""
    calls: Counter[str]
    """Kernel -> times."""


def profiled(work: Callable[[], object], times: int) -> Profile:
    """Profile some calls of `work`."""
    kinds = [ProfilerActivity.CUDA if torch.cuda.is_available() else ProfilerActivity.CPU]
    cuda.synchronize()
    with profile(activities=kinds) as seen:  # without the operations, which are many more
        for _ in range(times):
            work()
        cuda.synchronize()
    events = seen.events() or []
    ran = [
        event
        for event in events
        if event.device_type.name == "CUDA" and not getattr(event, "is_user_annotation", False)
    ]
    kernels = [event for event in ran if not event.name.startswith(("Memcpy", "Memset"))]
    seconds: Counter[str] = Counter()
    for event in kernels:
        seconds[event.name] += event.time_range.elapsed_us() / 1e6 / times
    return Profile(
        kernels=len(kernels) / times,
        copies=(len(ran) - len(kernels)) / times,
        seconds=sum(event.time_range.elapsed_us() for event in ran) / 1e6 / times,
        waits=sum(event.name in _SYNCHRONIZING for event in events) / times,
        by_name=seconds,
        calls=Counter(event.name for event in kernels),
    )


def measure(setting: Setting, results: Results) -> None:
    """Time steps of packs, profile them, and name what takes longest."""
    if setting.rehearsal:
        results.note("a CPU launches no kernels: their counts are 0")
    base = load(setting, small_recipe(setting))
    data = examples(base, samples(setting.size(64, 8), captions=8))
    for slots, rows, ranks in setting.size(CASES, REHEARSED):
        own = recipes(setting, slots, ranks, train__batch_size=rows)
        steps = partial(_steps, filled_pack(base, own, data))
        steps(setting.size(WARM_UP, 1))
        cuda.synchronize()
        started, cpu = time.perf_counter(), time.process_time()
        timed = setting.size(TIMED, 2)
        steps(timed)
        cuda.synchronize()
        wall = (time.perf_counter() - started) / timed
        cpu = (time.process_time() - cpu) / timed
        found = profiled(partial(steps, 1), setting.size(PROFILED, 1))
        results.row(
            "One training step",
            slots=slots,
            rows=rows,
            ranks=", ".join(map(str, ranks)),
            **{
                "wall ms": wall * 1e3,
                "CPU ms": cpu * 1e3,
                "GPU ms": found.seconds * 1e3,
                "GPU busy": f"{found.seconds / wall:.0%}",
                "kernels": found.kernels,
                "copies": found.copies,
                "waits": found.waits,
                "samples/s": slots * rows / wall,
            },
        )
        if (slots, rows) == (16, 8):
            _longest(results, f"rank {', '.join(map(str, ranks))}", found)


def _steps(pack: Pack, count: int) -> None:
    for _ in range(count):
        if not pack.busy:
            raise RuntimeError("the epoch is too short for the steps that are measured")
        pack.step()


def _longest(results: Results, case: str, found: Profile) -> None:
    """Name the kernels that take most of a step."""
    for name, seconds in found.by_name.most_common(20):
        results.row(
            f"Kernels of a step of 16 slots of 8 rows, {case}",
            **{
                "GPU ms": seconds * 1e3,
                "share": f"{seconds / found.seconds:.1%}",
                "calls": found.calls[name] / PROFILED,
                "kernel": f"`{name[:110].replace('|', '/')}`",
            },
        )
