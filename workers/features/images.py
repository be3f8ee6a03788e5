"""The images of one split as a batch carries them: as pixels, or as features."""

import random
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from statistics import median
from typing import Protocol

import torch

from workers.data.sample import Sample
from workers.encoding import collation
from workers.families.base import IMAGE_TEXT, Base, Encoded
from workers.families.pixel_bytes import KEY
from workers.features import door
from workers.features.decoding import DecoderPool, PixelSource
from workers.features.files import size_of
from workers.features.frozen import vision_in_eval_mode
from workers.features.store import CPU_BYTES, Store, group_digests, image_digest

LIMIT_BYTES = 2 * 1024**3
"""Memory for the pixels of one split, in bytes; beyond it images are decoded again."""
BATCH = 16
"""Images that go through the image encoder at once, if not the whole split is to."""
LARGEST_BATCH = 256
"""Most images at once of a whole split, on a GPU with room for so many."""
AHEAD = 4
"""Batches that decoders are ahead of the image encoder."""

Progress = Callable[[int, int], None]
"""Is told how many images are done, of how many."""


@dataclass(kw_only=True)
class ImageWaits:
    """How often the steps of an epoch waited for images that were not there yet."""

    step: int = 0
    """The optimizer step under way, from 1."""
    waits: int = 0
    """Steps that have waited."""
    last: int = 0
    """The last one of them; 0 for none."""
    seconds: float = 0.0
    """How long all have waited."""

    @contextmanager
    def waiting(self) -> Iterator[None]:
        """Count a part of the step as one that waits."""
        started = time.perf_counter()
        try:
            yield
        finally:
            self.seconds += time.perf_counter() - started
            if self.last < self.step:
                self.waits, self.last = self.waits + 1, self.step

    def counts(self, queued: int) -> dict[str, float]:
        """Return ``waits``, ``seconds`` and ``last``, and what decoders still have to do.

        They depend on the host, and not on the recipe as metrics do.
        """
        found = {"waits": self.waits, "seconds": self.seconds, "last": self.last}
        return {**found, "queued": queued}


class Images(Protocol):
    """The images of one split as a batch carries them: pixels, or what was made of them."""

    @property
    def queued(self) -> int:
        """Images that decoders still have to do, for this split and all others of the host."""

    def of(self, indices: Sequence[int]) -> list[Encoded]:
        """Return the images at `indices`."""

    def ready(self, indices: Sequence[int]) -> bool:
        """Return whether `of` has none of them to decode."""

    def expect(self, indices: Sequence[int]) -> None:
        """Let decoders begin with those that `of` would decode; without decoders do nothing."""

    def prepare(self, progress: Progress) -> None:
        """Make all images that can be made before the first step."""

    def seconds_saved(self, indices: Sequence[int]) -> float:
        """Return the seconds that an image encoder would take for them, if `of` does without."""


class Pixels:
    """The images of `samples` as their model takes them, each decoded on first use.

    Up to `limit` bytes are kept.
    """

    def __init__(
        self,
        base: Base,
        samples: Sequence[Sample],
        limit: int = LIMIT_BYTES,
        decoders: DecoderPool | None = None,
    ) -> None:
        self._source = PixelSource.of(base, samples)
        self.decoders = decoders
        self._left = limit
        self._kept: dict[int, Encoded] = {}

    @property
    def queued(self) -> int:
        """Images that decoders still have to do."""
        return self.decoders.queued if self.decoders else 0

    def of(self, indices: Sequence[int]) -> list[Encoded]:
        """Return the images at `indices`."""
        return [self._encoded(index) for index in indices]

    def ready(self, indices: Sequence[int]) -> bool:
        """Return whether all of them are decoded."""
        there = self.decoders.has if self.decoders else lambda *_: False
        return all(index in self._kept or there(self._source, index) for index in indices)

    def expect(self, indices: Sequence[int]) -> None:
        """Let decoders begin with them."""
        if self.decoders:
            for index in indices:
                if index not in self._kept:
                    self.decoders.expect(self._source, index)

    def prepare(self, progress: Progress) -> None:
        """Do nothing: decoders are ahead of the steps."""

    def seconds_saved(self, indices: Sequence[int]) -> float:
        """Return 0: with pixels the image encoder still has to compute."""
        return 0.0

    def key(self, index: int) -> str | None:
        """Return the digest of all that decides an image's pixels, where it is known in advance."""
        return self._source.key(index)

    def _encoded(self, index: int) -> Encoded:
        if index in self._kept:
            return self._kept[index]
        source, decoders = self._source, self.decoders
        encoded = decoders.take(source, index) if decoders else source.make(index)
        size = size_of(encoded)
        if size <= self._left:
            self._left -= size
            self._kept[index] = encoded
        return encoded


class Features:
    """The images of `samples` as features, each computed on first use, or all by `prepare`.

    Used only while the base is bare, or has an adapter that leaves its image encoder alone.

    On a CPU the images of a group that `samples` decides go through the image encoder together,
    whichever of them are needed: then the last bits of a feature depend on nothing else, and a
    resumed trial sees what it would have seen. On a GPU those go together that are needed.
    """

    def __init__(
        self,
        samples: Sequence[Sample],
        store: Store,
        decoders: DecoderPool | None = None,
        base: Base | None = None,
    ) -> None:
        """Take another base than the store's for the pixels: the same one at a resolution."""
        self._pixels = Pixels(base or store.base, samples, limit=0, decoders=decoders)
        self._count = len(samples)
        self._store = store
        self._keys: dict[int, str] = {}
        self._grouped = store.base.device.type == "cpu"

    @property
    def queued(self) -> int:
        """Images that decoders still have to do."""
        return self._pixels.queued

    # Tensors made in inference mode could not be read in training.
    @torch.inference_mode(False)
    @torch.no_grad()
    def of(self, indices: Sequence[int]) -> list[Encoded]:
        """Return the images at `indices`; those that are not kept are computed."""
        found = self._kept(indices)
        for batch in self._batches(index for index in indices if index not in found):
            found |= self._computed(batch)
        return [found[index] for index in indices]

    def ready(self, indices: Sequence[int]) -> bool:
        """Return whether all of them are kept, or at least decoded."""
        missing = (index for index in indices if not self._has(index))
        return all(self._pixels.ready(batch) for batch in self._batches(missing))

    def expect(self, indices: Sequence[int]) -> None:
        """Let decoders begin with those that are not kept, and those that are encoded with them."""
        if self._pixels.decoders:
            for batch in self._batches(index for index in indices if not self._has(index)):
                self._pixels.expect(batch)

    @torch.inference_mode(False)
    @torch.no_grad()
    def prepare(self, progress: Progress) -> None:
        """Compute on a GPU what is not kept yet, in large batches, as long as it can be kept.

        The hosts of a machine take the batches each in an order of its own: what one has decoded,
        the others read.
        """
        missing = [index for index in range(self._count) if not self._has(index)]
        if self._grouped or not missing:
            return
        first, rest = missing[:BATCH], missing[BATCH:]
        self._pixels.expect(missing[: AHEAD * BATCH])
        size = self._largest_batch(first)
        batches = [rest[at : at + size] for at in range(0, len(rest), size)]
        random.Random().shuffle(batches)
        done = self._count - len(rest)
        for place, batch in enumerate(batches):
            progress(done, self._count)
            for later in batches[place : place + 1 + AHEAD]:
                self._pixels.expect(later)
            self._computed(batch)
            done += len(batch)
            if not self._has(batch[-1]):  # there is no more room
                return
        progress(done, self._count)

    def seconds_saved(self, indices: Sequence[int]) -> float:
        """Return the seconds that the image encoder would take for those that are kept."""
        return sum(map(self._has, indices)) * median(self._store.seconds or [0.0])

    def _has(self, index: int) -> bool:
        key = self._key(index)
        return key is not None and key in self._store

    def _key(self, index: int) -> str | None:
        """Return the key of an image's features, or None while it is not known."""
        if index not in self._keys and not self._grouped and (key := self._pixels.key(index)):
            self._keys[index] = key
        return self._keys.get(index)

    def _batches(self, indices: Iterable[int]) -> list[Sequence[int]]:
        """Return what is to go through the image encoder together for these to be encoded."""
        wanted = list(dict.fromkeys(indices))
        if not wanted:
            return []
        size = self._batch_size
        if not self._grouped:
            return [wanted[at : at + size] for at in range(0, len(wanted), size)]
        starts = sorted({index - index % size for index in wanted})
        return [range(start, min(start + size, self._count)) for start in starts]

    def _largest_batch(self, images: Sequence[int]) -> int:
        """Compute `images`, and return how many at once fit by what they took."""
        device = self._store.base.device
        if device.type != "cuda":
            self._computed(images)
            return BATCH
        torch.cuda.reset_peak_memory_stats(device)
        before = torch.cuda.memory_allocated(device)
        self._computed(images)
        each = (torch.cuda.max_memory_allocated(device) - before) / len(images)
        free = torch.cuda.mem_get_info(device)[0] + torch.cuda.memory_reserved(device)
        return batch_that_fits(each, free - torch.cuda.memory_allocated(device))

    @cached_property
    def _batch_size(self) -> int:
        """Images encoded at once: on a CPU one where the store may not hold them all.

        What is not kept is computed again, and then a group for each of its images. Features are
        taken to be as large as pixels.
        """
        if not self._grouped:
            return BATCH
        size = size_of(self._numbers(self._pixels.of([0])[0]))
        return 1 if self._count * size > CPU_BYTES else BATCH

    def _kept(self, indices: Iterable[int]) -> dict[int, Encoded]:
        keys = {index: self._key(index) for index in indices}
        found = {index: self._store.get(key) for index, key in keys.items() if key}
        return {index: kept for index, kept in found.items() if kept is not None}

    def _computed(self, indices: Sequence[int]) -> dict[int, Encoded]:
        """Return images of one batch, of which another sweep or process may have kept some."""
        images = dict(zip(indices, self._pixels.of(indices), strict=True))
        if self._grouped:
            keys = group_digests([self._digest(image) for image in images.values()])
        else:
            keys = [self._key(index) or self._digest(image) for index, image in images.items()]
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

    def _numbers(self, image: Encoded) -> Encoded:
        return collation.with_numbers(self._store.base, image)

    def _digest(self, image: Encoded) -> str:
        """Return the digest of its numbers: that of bytes would forget which numbers they are."""
        return image_digest(self._numbers(image))

    def _encode(self, images: Sequence[Encoded]) -> list[Encoded]:
        """Put images through the image encoder."""
        base, started = self._store.base, time.perf_counter()
        features = with_features(base, images)
        if base.device.type == "cuda":
            torch.cuda.synchronize(base.device)
        share = (time.perf_counter() - started) / len(images)
        self._store.seconds += [share] * len(images)
        return features


def with_features(base: Base, images: Sequence[Encoded]) -> list[Encoded]:
    """Return images as a batch carries them when their image encoder, in eval mode, is through."""
    with vision_in_eval_mode(base):
        if base.family.traits is not None and not base.family.VISION_CHAIN:
            read = (*base.family.traits.beside, IMAGE_TEXT)
            made = zip(images, door.features_of(base, images), strict=True)
            return [
                {**{key: image[key] for key in read if key in image}, KEY: own}
                for image, own in made
            ]
        batch = collation.on_device(base, collation.stacked(base, images))
        features = base.family.image_features(base, batch)
    pairs = zip(images, features, strict=True)
    # As a batch carries them: (1, tokens, width). A copy: a part would keep the whole batch.
    return [{**image, KEY: own.unsqueeze(1).clone()} for image, own in pairs]


def batch_that_fits(each: float, free: float) -> int:
    """Return how many images of `each` bytes are encoded at once: they get half of what is free."""
    return max(BATCH, min(LARGEST_BATCH, int(free / 2 / max(each, 1.0))))
