"""Measures of a trial besides its scores: size, time and memory.

Hosts report each as ``measured/<name>``. A sweep may have it as a further objective or set a
limit for it. This module imports nothing heavy: a sweep file is checked against it.
"""

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache, partial
from itertools import chain
from statistics import median
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    import torch

PREFIX = "measured/"
_PEAK = f"{PREFIX}peak_memory_gb"


@dataclass(frozen=True, kw_only=True)
class Measure:
    """One measure."""

    direction: Literal["max", "min"] = "min"
    """The better direction."""
    course: Literal["constant", "rises", "varies"]
    """How it changes from rung to rung: a limit that a constant breaks is broken for good."""
    gpu: bool = False
    """It is measured on GPUs only."""
    captions: bool = False
    """It is measured at rungs with captions only."""

    def can_recover(self, *, upper: bool) -> bool:
        """Return whether a later rung may keep a limit broken now; `upper` is a maximum."""
        return self.course == "varies" or (self.course == "rises" and not upper)


MEASURES: Mapping[str, Measure] = {
    # MB: weights of the exported adapter, 10^6 bytes
    "adapter_mb": Measure(course="constant"),
    # weights that are trained
    "trainable_parameters": Measure(course="constant"),
    # ms: time to write a caption, see `latency_ms`
    "latency_ms": Measure(course="varies", captions=True),
    # s: time to train a rung
    "seconds_per_epoch": Measure(course="varies"),
    # GB: most memory of the GPU that a rung takes, 10^9 bytes: the base, the adapters and
    # optimizers of all slots of the host, and the activations
    "peak_memory_gb": Measure(course="rises", gpu=True),
}


def reported_as(name: str) -> str:
    """Return the key of a measure or score in a report: ``measured/latency_ms``, ``val/cider``."""
    return f"{PREFIX}{name}" if name in MEASURES else f"val/{name}"


def needs_captions(name: str) -> bool:
    """Return whether a measure or score exists only at rungs with captions."""
    return MEASURES[name].captions if name in MEASURES else name != "loss"


def adapter(parameters: Iterable["torch.Tensor"]) -> dict[str, float]:
    """Return the measures of an adapter that are known before it is trained."""
    weights = list(parameters)
    return {
        f"{PREFIX}adapter_mb": sum(weight.nbytes for weight in weights) / 1e6,
        f"{PREFIX}trainable_parameters": float(sum(weight.numel() for weight in weights)),
    }


def latency_ms(seconds: Sequence[Sequence[float]]) -> float:
    """Return the median time of an image in milliseconds.

    `seconds` are of each batch each image's share of its seconds. The first batch is left out if
    there are others: in it kernels are chosen and caches filled.
    """
    return median(chain.from_iterable(seconds[1:] or seconds)) * 1e3


def times(*, training: float, writing: Sequence[Sequence[float]]) -> dict[str, float]:
    """Return the times of a rung, by keys of a report.

    `training` are seconds; `writing`, empty without captions, is as in `latency_ms`.
    """
    latency = {f"{PREFIX}latency_ms": latency_ms(writing)} if writing else {}
    return {f"{PREFIX}seconds_per_epoch": training, **latency}


class Meter:
    """Adds up the time of a rung's pieces and keeps their highest peak of memory."""

    def __init__(self, device: "torch.device") -> None:
        self.seconds = 0.0
        self.peak_memory: Mapping[str, float] = {}
        """By keys of a report; empty on a CPU."""
        self.device = device


@dataclass(frozen=True, kw_only=True)
class MemoryReading:
    """Bytes of tensors on a GPU over a piece of work."""

    peak: float
    """Most at a time since `forget_peak_memory`."""
    held: float
    """Bytes still there: weights, moments, kept features."""


@contextmanager
def shared(meters: Sequence[Meter]) -> Iterator[Callable[[], MemoryReading | None]]:
    """Measure a piece that several rungs share equally; one that raises counts, too.

    Each gets its share of the time, and all of the peak, which is the device's. Yields what reads
    the device's memory: once for all who ask, for a reading takes longer than some kernels; what
    follows the first call does not count.
    """
    device = meters[0].device
    forget_peak_memory(device)
    reading = cache(partial(read_memory, device))
    started = time.monotonic()
    try:
        yield reading
    finally:
        seconds, memory = time.monotonic() - started, reading()
        for meter in meters:
            meter.seconds += seconds / len(meters)
            if memory is not None:
                peak = max(memory.peak / 1e9, meter.peak_memory.get(_PEAK, 0.0))
                meter.peak_memory = {_PEAK: peak}


def read_memory(device: "torch.device") -> MemoryReading | None:
    """Return what a GPU has held since `forget_peak_memory`; None for a CPU."""
    if device.type != "cuda":
        return None
    import torch

    found = torch.cuda.memory_stats(device)
    peak, held = (found.get(f"allocated_bytes.all.{which}", 0) for which in ("peak", "current"))
    return MemoryReading(peak=peak, held=held)


def forget_peak_memory(device: "torch.device") -> None:
    """Reset the peak."""
    if device.type == "cuda":
        import torch

        torch.cuda.reset_peak_memory_stats(device)
