"""Decoded images of one split, kept in memory as far as a limit goes."""

from collections.abc import Sequence

import torch

from workers.data.sample import Sample
from workers.models import Base

LIMIT_BYTES = 2 * 1024**3
"""Memory for the images of one split, in bytes; beyond it images are decoded again."""


class Pixels:
    """The images of `samples` as tensors (channels, height, width), each decoded on first use."""

    def __init__(self, base: Base, samples: Sequence[Sample], limit: int = LIMIT_BYTES) -> None:
        self._base = base
        self._samples = samples
        self._left = limit
        self._kept: dict[int, torch.Tensor] = {}

    def batch(self, indices: Sequence[int]) -> torch.Tensor:
        """Return the images at `indices` as (batch, channels, height, width)."""
        return torch.stack([self._one(index) for index in indices])

    def _one(self, index: int) -> torch.Tensor:
        if index in self._kept:
            return self._kept[index]
        image = self._samples[index].open()
        pixels = self._base.family.pixels(self._base.processor, image)
        size = pixels.numel() * pixels.element_size()
        if size <= self._left:
            self._left -= size
            self._kept[index] = pixels
        return pixels
