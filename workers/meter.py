"""What one slot's rung takes of the machine, while others take their turns in between."""

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch

from workers import measures


class Meter:
    """Adds up the time of a rung's pieces and keeps their highest peak of memory."""

    def __init__(self, device: torch.device) -> None:
        self.seconds = 0.0
        self.peak_memory: Mapping[str, float] = {}
        """By keys of a report; empty on a CPU."""
        self._device = device

    @contextmanager
    def running(self) -> Iterator[None]:
        """Measure one piece; one that raises counts, too."""
        measures.forget_peak_memory(self._device)
        started = time.monotonic()
        try:
            yield
        finally:
            self.seconds += time.monotonic() - started
            peak = measures.peak_memory(self._device)
            self.peak_memory = {
                key: max(value, self.peak_memory.get(key, 0.0)) for key, value in peak.items()
            }
