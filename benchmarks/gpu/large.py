"""(i) A VLM of 3 billion weights with kept features: a pack of 8 beside one adapter alone."""

from collections.abc import Callable

import torch

from benchmarks.gpu import cuda
from benchmarks.gpu.results import Results
from benchmarks.gpu.setting import Setting
from benchmarks.gpu.speed import compare, tell
from benchmarks.packing import packed, plain, sizes
from benchmarks.packing.case import Case, batches
from benchmarks.packing.ways import Speed, Way
from workers import families
from workers.families.base import Base


def measure(setting: Setting, results: Results) -> None:
    """Measure a pack of 8 of a VLM of 3 billion weights beside one adapter alone."""
    name = setting.size("qwen2.5-vl-3b", "tiny-qwen2.5-vl")
    model, processor = sizes.make(name, setting.device)  # not written: it has several GB
    base = Base(
        model=model.eval().requires_grad_(False),
        processor=processor,
        family=families.get(model.config.model_type),
        device=torch.device(setting.device),
    )
    case = Case(
        model=name,
        folder=name,
        batch=setting.size(4, 2),
        quantization="none",
        device=setting.device,
        warmup=setting.size(5, 1),
        steps=setting.size(15, 2),
    )
    reached: dict[Way, float] = {}

    def run(way: Way, loop: Callable[[int], None]) -> None:
        speed = _speed(loop, case, way)
        tell(results, case, way, speed)
        reached[way] = speed.steps_per_second

    for slots in (8, 1):
        run(Way(name=f"pack of {slots}", slots=slots), packed.loop(base, case, slots))
    # Last: it wraps the layers of the base.
    run(Way(name="plain, fused AdamW"), plain.loop(base, case, batches(base, case)))
    compare(results, f"{name}, {case.batch} rows", reached)


def _speed(loop: Callable[[int], None], case: Case, way: Way) -> Speed:
    cuda.forget_peak()
    took = plain.seconds(loop, case, lambda: None)
    return Speed(steps_per_second=way.adapters * case.steps / took, gib=cuda.peak() / 2**30)
