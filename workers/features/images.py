"""The images of one split as features: what `workers.pixels.Pixels` is for pixels."""

import time
from collections.abc import Mapping, Sequence
from statistics import median

import torch

from workers import collation
from workers.data.sample import Sample
from workers.families import Encoded
from workers.features import fingerprint
from workers.features.bypass import KEY, packed
from workers.features.frozen import still
from workers.features.store import Store
from workers.pixels import Pixels

TOGETHER = 16
"""Images that go through the image encoder at once, on a GPU. On a CPU they go one by one: then
the last bits of a feature do not depend on which images were asked for with it, and a resumed trial
sees what it would have seen."""


class Features:
    """The images of `samples` as features, each computed on first use.

    Asked only while the base is bare, or has an adapter that leaves its image encoder alone.
    """

    def __init__(self, samples: Sequence[Sample], store: Store) -> None:
        self._pixels = Pixels(store.base, samples, limit=0)
        self._store = store
        self._keys: dict[int, str] = {}
        self._together = 1 if store.base.device.type == "cpu" else TOGETHER

    # Tensors made in inference mode could not be read in training.
    @torch.inference_mode(False)
    @torch.no_grad()
    def of(self, indices: Sequence[int]) -> list[Encoded]:
        """Return the images at `indices`; those that are not kept are computed."""
        found: dict[int, Encoded] = {}
        missing: dict[int, Encoded] = {}
        for index in dict.fromkeys(indices):
            if (kept := self._kept(index)) is not None:
                found[index] = kept
                continue
            pixels = self._pixels.of([index])[0]
            self._keys[index] = fingerprint.of_image(pixels)
            # Another split, sweep or process may have seen the same image.
            if (kept := self._kept(index)) is not None:
                found[index] = kept
            else:
                missing[index] = pixels
        found |= self._computed(missing)
        return [found[index] for index in indices]

    def spared(self, indices: Sequence[int]) -> float:
        """Return the seconds that the image encoder would take for those that it has seen."""
        seen = sum(index in self._keys for index in indices)
        return seen * median(self._store.seconds or [0.0])

    def _kept(self, index: int) -> Encoded | None:
        return self._store.get(self._keys[index]) if index in self._keys else None

    def _computed(self, missing: Mapping[int, Encoded]) -> dict[int, Encoded]:
        indices = list(missing)
        made: dict[int, Encoded] = {}
        for start in range(0, len(indices), self._together):
            some = indices[start : start + self._together]
            made |= zip(some, self._seen([missing[index] for index in some]), strict=True)
        for index, features in made.items():
            self._store.put(self._keys[index], features)
        return made

    def _seen(self, images: Sequence[Encoded]) -> list[Encoded]:
        """Put images through the image encoder, in eval mode."""
        base = self._store.base
        batch = {name: tensor.to(base.device) for name, tensor in collation.stacked(images).items()}
        started = time.perf_counter()
        with still(base):
            features = base.family.image_features(base, batch)
        if base.device.type == "cuda":
            torch.cuda.synchronize(base.device)
        share = (time.perf_counter() - started) / len(images)
        self._store.seconds += [share] * len(images)
        return [
            # A copy: a part of the batch would keep all of it.
            {**image, KEY: packed(own).clone()}
            for image, own in zip(images, features, strict=True)
        ]
