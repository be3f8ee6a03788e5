"""What one slot's rung takes of the machine, while others take their turns in between."""

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

import torch

from workers import measures


class Meter:
    """Adds up the time of a rung's pieces and keeps their highest peak of memory."""

    def __init__(self, device: torch.device) -> None:
        self.seconds = 0.0
        self.peak_memory: Mapping[str, float] = {}
        """By keys of a report; empty on a CPU."""
        self.device = device

    @contextmanager
    def running(self) -> Iterator[None]:
        """Measure one piece; one that raises counts, too."""
        with shared([self]):
            yield

    def _add(self, seconds: float, peak: Mapping[str, float]) -> None:
        self.seconds += seconds
        self.peak_memory = {
            key: max(value, self.peak_memory.get(key, 0.0)) for key, value in peak.items()
        }


@contextmanager
def shared(meters: Sequence[Meter]) -> Iterator[None]:
    """Measure a piece that several rungs have in common, of equal parts; one that raises counts.

    Each gets its share of the time, and all of the peak, which is the device's.
    """
    device = meters[0].device
    measures.forget_peak_memory(device)
    started = time.monotonic()
    try:
        yield
    finally:
        seconds, peak = time.monotonic() - started, measures.peak_memory(device)
        for meter in meters:
            meter._add(seconds / len(meters), peak)
