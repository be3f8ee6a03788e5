"""(d) Samples per second of adapters that train plain, in several processes, or packed.

This process imports neither peft nor bitsandbytes, which may touch the GPU: it is forked.
"""

import multiprocessing
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from unittest.mock import patch

from benchmarks import mps
from benchmarks.gpu.results import Results
from benchmarks.gpu.setting import Setting
from benchmarks.packing.case import Case
from benchmarks.packing.ways import Speed, Way
from benchmarks.packing.ways import measure as measure_way

WAYS: Sequence[Way] = (
    Way(name="plain peft", fused=False),
    Way(name="pack of 16", slots=16),
    Way(name="4 processes", processes=4),
    Way(name="pack of 1", slots=1),
    Way(name="pack of 8", slots=8),
    Way(name="plain, fused AdamW"),
)
MPS = Way(name="4 processes with MPS", processes=4, mps=True)
"""The last one: where it hangs, all others are done."""
REHEARSED: Sequence[Way] = (
    Way(name="plain peft", fused=False),
    Way(name="2 processes", processes=2),
    Way(name="pack of 4", slots=4),
)


def measure(setting: Setting, results: Results) -> None:
    """Measure all ways for the small model, each in processes of its own, with the same rows."""
    rows, ways = setting.size((8, 2), (2,)), setting.size(WAYS, REHEARSED)
    reached: dict[int, dict[Way, float]] = {batch: {} for batch in rows}
    for way, batch in [*((way, batch) for batch in rows for way in ways), (MPS, rows[0])]:
        case = Case(
            model=setting.git,
            folder=str(setting.checkpoint),
            batch=batch,
            quantization="none",
            device=setting.device,
            warmup=setting.size(20, 1),
            steps=setting.size(60, 3),
        )
        found = _tried(way, case)
        if isinstance(found, str) and not way.mps and multiprocessing.get_start_method() == "fork":
            # Perhaps a fork could not use the GPU.
            multiprocessing.set_start_method("spawn", force=True)
            found = _tried(way, case)
        if isinstance(found, str):
            results.note(f"{case.model}, {batch} rows, {way.name}: {found}")
        else:
            tell(results, case, way, found)
            reached[batch][way] = found.steps_per_second
    for batch, speeds in reached.items():
        compare(results, f"{setting.git}, {batch} rows", speeds)


def _tried(way: Way, case: Case) -> Speed | str:
    """Return what a way reached, or in a line why it did not."""
    if way.mps and (reason := mps.unavailable()):
        return reason
    sharing: AbstractContextManager[dict[str, str]] = mps.running() if way.mps else nullcontext({})
    try:
        with sharing as clients, patch.dict("os.environ", clients):
            return measure_way(case, way)
    except Exception as error:  # out of memory, say: a result as well
        return f"{type(error).__name__}: {str(error).strip().splitlines()[0][:200]}"


def tell(results: Results, case: Case, way: Way, speed: Speed) -> None:
    """Tell the row of a way."""
    results.row(
        f"{case.model} with kept features, rank {case.rank}, dropout {case.dropout}",
        rows=case.batch,
        way=way.name,
        adapters=way.adapters,
        **{
            "samples/s": speed.steps_per_second * case.batch,
            "ms per step of an adapter": 1e3 / speed.steps_per_second,
            "GiB": speed.gib,
        },
    )


def compare(results: Results, case: str, speeds: Mapping[Way, float]) -> None:
    """Tell what packs reach by the best of the ways without one."""
    rivals = {way: speed for way, speed in speeds.items() if not way.slots}
    best = max(rivals, key=lambda way: rivals[way], default=None)
    for way, speed in speeds.items():
        if best and way.slots:
            ratio = speed / rivals[best]
            results.note(f"{case}: a {way.name} has {ratio:.2f} times the samples/s of {best.name}")
