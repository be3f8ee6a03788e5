"""What is measured of a trial besides its scores: size, time and memory.

Hosts report each quantity as ``measured/<name>``. A sweep may have it as a further objective or
set a limit for it. This module imports nothing heavy: a sweep file is checked against it.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    import torch

PREFIX = "measured/"


@dataclass(frozen=True, kw_only=True)
class Measure:
    """One quantity."""

    direction: Literal["max", "min"] = "min"
    """Which way is better."""
    course: Literal["constant", "rises", "varies"]
    """What it can do from rung to rung: a limit that a constant breaks is broken for good."""
    gpu: bool = False
    """It is measured on GPUs only."""
    captions: bool = False
    """It is measured at rungs with captions only."""

    def can_mend(self, *, upper: bool) -> bool:
        """Tell whether a later rung may keep a limit that is broken now; `upper` is a maximum."""
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
    """Return the key of a quantity or score in a report: ``measured/latency_ms``, ``val/cider``."""
    return f"{PREFIX}{name}" if name in MEASURES else f"val/{name}"


def needs_captions(name: str) -> bool:
    """Tell whether a quantity or score is there only at rungs with captions."""
    return MEASURES[name].captions if name in MEASURES else name != "loss"


def adapter(parameters: Iterable["torch.Tensor"]) -> dict[str, float]:
    """Return what is known of an adapter before it is trained, by keys of a report."""
    weights = list(parameters)
    return {
        f"{PREFIX}adapter_mb": sum(weight.nbytes for weight in weights) / 1e6,
        f"{PREFIX}trainable_parameters": float(sum(weight.numel() for weight in weights)),
    }


def latency_ms(seconds: Sequence[float], batch_size: int) -> float:
    """Return the median time of an image in milliseconds.

    Args:
        seconds: each image's share of the seconds that its batch took, in order.
        batch_size: images of the first batch, which is left out if there are others: in it
            kernels are chosen and caches filled.
    """
    return median(seconds[batch_size:] or seconds) * 1e3


def times(*, training: float, writing: Sequence[float], batch_size: int) -> dict[str, float]:
    """Return the times of a rung, by keys of a report.

    Args:
        training: seconds.
        writing: see `latency_ms`; empty where no captions were written.
        batch_size: see `latency_ms`.
    """
    latency = {f"{PREFIX}latency_ms": latency_ms(writing, batch_size)} if writing else {}
    return {f"{PREFIX}seconds_per_epoch": training, **latency}


def peak_memory(device: "torch.device") -> dict[str, float]:
    """Return the most memory that a GPU has held since `forget_peak_memory`; nothing for a CPU."""
    if device.type != "cuda":
        return {}
    import torch

    return {f"{PREFIX}peak_memory_gb": torch.cuda.max_memory_allocated(device) / 1e9}


def forget_peak_memory(device: "torch.device") -> None:
    """Begin to look for the peak anew."""
    if device.type == "cuda":
        import torch

        torch.cuda.reset_peak_memory_stats(device)
