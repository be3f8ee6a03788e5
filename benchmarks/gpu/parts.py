"""The parts of a run, the most important first."""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Part:
    """One question to the device."""

    key: str
    title: str
    module: str
    """In this folder. Its function answers the question; the part's own process imports it."""
    seconds: float
    """Most that it may take."""
    function: str = "measure"


MACHINE = Part("machine", "The machine", "machine", 120)
PARTS: Sequence[Part] = (
    Part("a", "Waits of a packed step", "waits", 60),
    Part("b", "A pack beside the same trials alone", "exactness", 75),
    Part("c", "Kernels, the GPU's busy share, CPU time", "profile", 75),
    Part("d", "Samples per second: plain, in processes, packed", "speed", 150),
    Part("e", "Memory, estimated and measured", "memory", 45),
    Part("f", "A forced out-of-memory", "memory", 45, "measure_retreat"),
    Part("g", "Captions", "captions", 75),
    Part("h", "Quantized bases", "quantized", 75),
    Part("i", "A VLM of 3 billion weights", "large", 90),
    Part("j", "The quick start", "quickstart", 120),
)
