"""Decoded images of one split, kept in memory as far as a limit goes."""

from collections.abc import Sequence
from typing import Protocol

from workers.data.sample import Sample
from workers.families.base import Base, Encoded

LIMIT_BYTES = 2 * 1024**3
"""Memory for the images of one split, in bytes; beyond it images are decoded again."""


class Images(Protocol):
    """The images of one split as a batch carries them: pixels, or what was made of them."""

    def of(self, indices: Sequence[int]) -> list[Encoded]:
        """Return the images at `indices`."""

    def seconds_saved(self, indices: Sequence[int]) -> float:
        """Return the seconds that an image encoder would take for them, if `of` does without."""


class Pixels:
    """The images of `samples` as their model takes them, each decoded on first use."""

    def __init__(self, base: Base, samples: Sequence[Sample], limit: int = LIMIT_BYTES) -> None:
        self._base = base
        self._samples = samples
        self._left = limit
        self._kept: dict[int, Encoded] = {}

    def of(self, indices: Sequence[int]) -> list[Encoded]:
        """Return the images at `indices`."""
        return [self._encoded(index) for index in indices]

    def seconds_saved(self, indices: Sequence[int]) -> float:
        """Return 0: with pixels the image encoder still has to compute."""
        return 0.0

    def _encoded(self, index: int) -> Encoded:
        if index in self._kept:
            return self._kept[index]
        encoded = self._base.family.encode(self._base, self._samples[index].open())
        size = sum(tensor.nbytes for tensor in encoded.values())
        if size <= self._left:
            self._left -= size
            self._kept[index] = encoded
        return encoded
