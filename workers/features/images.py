"""The images of one split as a batch carries them: as pixels, or as features."""

import time
from collections.abc import Iterable, Sequence
from functools import cached_property
from statistics import median
from typing import Protocol

import torch

from workers.data.sample import Sample
from workers.encoding import collation
from workers.families.base import Base, Encoded
from workers.features.frozen import vision_in_eval_mode
from workers.features.store import CPU_BYTES, KEY, Store, group_digests, image_digest

LIMIT_BYTES = 2 * 1024**3
"""Memory for the pixels of one split, in bytes; beyond it images are decoded again."""
BATCH = 16
"""Images that go through the image encoder at once."""


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


class Features:
    """The images of `samples` as features, each computed on first use.

    Used only while the base is bare, or has an adapter that leaves its image encoder alone.

    On a CPU the images of a group that `samples` decides go through the image encoder together,
    whichever of them are needed: then the last bits of a feature depend on nothing else, and a
    resumed trial sees what it would have seen. On a GPU those go together that are needed.
    """

    def __init__(self, samples: Sequence[Sample], store: Store) -> None:
        self._pixels = Pixels(store.base, samples, limit=0)
        self._count = len(samples)
        self._store = store
        self._keys: dict[int, str] = {}
        self._grouped = store.base.device.type == "cpu"

    # Tensors made in inference mode could not be read in training.
    @torch.inference_mode(False)
    @torch.no_grad()
    def of(self, indices: Sequence[int]) -> list[Encoded]:
        """Return the images at `indices`; those that are not kept are computed."""
        found = self._kept(indices)
        missing = list(dict.fromkeys(index for index in indices if index not in found))
        if missing:
            size = self._batch_size
            batches: list[Sequence[int]]
            if self._grouped:
                starts = sorted({index - index % size for index in missing})
                batches = [range(start, min(start + size, self._count)) for start in starts]
            else:
                batches = [missing[at : at + size] for at in range(0, len(missing), size)]
            for batch in batches:
                found |= self._computed(batch)
        return [found[index] for index in indices]

    def seconds_saved(self, indices: Sequence[int]) -> float:
        """Return the seconds that the image encoder would take for those that it has seen."""
        seen = sum(index in self._keys for index in indices)
        return seen * median(self._store.seconds or [0.0])

    @cached_property
    def _batch_size(self) -> int:
        """Images encoded at once: on a CPU one where the store may not hold them all.

        What is not kept is computed again, and then a group for each of its images. Features are
        taken to be as large as pixels.
        """
        size = sum(tensor.nbytes for tensor in self._pixels.of([0])[0].values())
        return 1 if self._grouped and self._count * size > CPU_BYTES else BATCH

    def _kept(self, indices: Iterable[int]) -> dict[int, Encoded]:
        known = {index: self._keys[index] for index in indices if index in self._keys}
        found = {index: self._store.get(key) for index, key in known.items()}
        return {index: kept for index, kept in found.items() if kept is not None}

    def _computed(self, indices: Sequence[int]) -> dict[int, Encoded]:
        """Return images of one batch, of which another sweep or process may have kept some."""
        images = dict(zip(indices, self._pixels.of(indices), strict=True))
        digests = [image_digest(image) for image in images.values()]
        keys = group_digests(digests) if self._grouped else digests
        self._keys |= zip(images, keys, strict=True)
        found = self._kept(indices)
        lacking = [index for index in images if index not in found]
        if lacking:
            through = list(images) if self._grouped else lacking
            encoded = self._encode([images[index] for index in through])
            made = dict(zip(through, encoded, strict=True))
            for index in lacking:
                self._store.put(self._keys[index], made[index])
                found[index] = made[index]
        return found

    def _encode(self, images: Sequence[Encoded]) -> list[Encoded]:
        """Put images through the image encoder, in eval mode."""
        base = self._store.base
        batch = {name: tensor.to(base.device) for name, tensor in collation.stacked(images).items()}
        started = time.perf_counter()
        with vision_in_eval_mode(base):
            features = base.family.image_features(base, batch)
        if base.device.type == "cuda":
            torch.cuda.synchronize(base.device)
        share = (time.perf_counter() - started) / len(images)
        self._store.seconds += [share] * len(images)
        pairs = zip(images, features, strict=True)
        # As a batch carries them: (1, tokens, width). A copy: a part would keep the whole batch.
        return [{**image, KEY: own.unsqueeze(1).clone()} for image, own in pairs]
