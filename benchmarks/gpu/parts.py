"""The parts of a run, the most important first."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from benchmarks.gpu import (
    captions,
    exactness,
    memory,
    profile,
    quantized,
    quickstart,
    speed,
    waits,
)
from benchmarks.gpu.results import Results
from benchmarks.gpu.setting import Setting


@dataclass(frozen=True)
class Part:
    """One question to the device."""

    key: str
    title: str
    measure: Callable[[Setting, Results], None]
    seconds: float
    """Most that it may take."""


PARTS: Sequence[Part] = (
    Part("a", "Waits of a packed step", waits.measure, 60),
    Part("b", "A pack beside the same trials alone", exactness.measure, 75),
    Part("c", "Kernels, the GPU's busy share, CPU time", profile.measure, 75),
    Part("d", "Samples per second: plain, in processes, packed", speed.measure, 150),
    Part("e", "Memory, estimated and measured", memory.measure, 45),
    Part("f", "A forced out-of-memory", memory.measure_retreat, 45),
    Part("g", "Captions", captions.measure, 75),
    Part("h", "Quantized bases", quantized.measure, 75),
    Part("i", "A VLM of 3 billion weights", speed.measure_large, 90),
    Part("j", "The quick start", quickstart.measure, 120),
)
