"""Data source `shapes`: drawn images with captions in the target wording, no download.

Validation and test images show scenes that neither the train split nor the pretraining of a
built-in base has shown, so the base cannot know them.
"""

import random
from collections.abc import Mapping, Sequence
from functools import partial
from hashlib import sha256

from workers.data import scenes
from workers.data.gather import digest
from workers.data.sample import SPLITS, DataError, DataFiles, DataSet, Sample
from workers.data.scenes import Scene
from workers.recipe import Data, Split

DEFAULT_IMAGES = 220
"""Images of all splits together when ``data.limit`` is null."""


def load(data: Data, reading: object = None) -> DataSet:
    """Draw the data set; the same for the same ``limit``, ``split`` and ``seed``.

    Raises `DataError` when a path or split files are given, which drawn images have not, or
    when the train or the validation split would be empty.
    """
    counts = _counts(data)
    pools = _pools(counts, data.seed)
    splits = {
        name: tuple(_sample(pools[name], number, data.seed) for number in range(count))
        for name, count in counts.items()
    }
    samples = (sample for part in splits.values() for sample in part)
    contents = {each.id: sha256(each.open().tobytes()).hexdigest() for each in samples}
    return DataSet(splits=splits, digest=digest(splits, contents))


def files(data: Data) -> DataFiles:
    """Return no files: the images are drawn."""
    return DataFiles()


def _counts(data: Data) -> dict[str, int]:
    """Return the number of images of each split."""
    if data.path is not None:
        raise DataError(
            "data.path must be left out: the source shapes draws its images; "
            f"got {data.path!r}. For files of your own use data.source: folder"
        )
    split = data.split or Split()
    limit, counts, total = data.limit or DEFAULT_IMAGES, {}, 0.0
    for name in SPLITS:
        share = getattr(split, name)
        if isinstance(share, str):
            raise DataError(
                f"data.split.{name} must be a share such as 0.8: the source shapes has no files "
                f"to list; got {share!r}"
            )
        # Rounding the running total and not each share keeps the sum within the limit.
        counts[name] = round((total + share) * limit) - round(total * limit)
        total += share
    for name in ("train", "validation"):
        if not counts[name]:
            raise DataError(
                f"data.limit must be larger: of {limit} images a share of "
                f"{getattr(split, name):g} leaves none for {name}"
            )
    return counts


def _pools(counts: Mapping[str, int], seed: int) -> dict[str, list[Scene]]:
    """Return the scenes of each split; none is in two."""
    chance = random.Random(f"split {seed}")
    known, held_out = list(scenes.known_scenes()), list(scenes.held_out_scenes())
    chance.shuffle(known)
    chance.shuffle(held_out)
    share = counts["validation"] / (counts["validation"] + counts["test"])
    # Neither split may be left without a scene, however small its share is.
    border = min(max(round(share * len(held_out)), 1), len(held_out) - 1)
    return {"train": known, "validation": held_out[:border], "test": held_out[border:]}


def _sample(pool: Sequence[Scene], number: int, seed: int) -> Sample:
    """Return image `number` of a split; a scene that comes again is drawn differently."""
    scene = pool[number % len(pool)]
    name = f"{scenes.base_caption(scene).replace(' ', '-')}-{number // len(pool)}.png"
    draw = partial(scenes.draw, scene, f"{seed} {name}")
    return Sample(id=name, open=draw, captions=scenes.target_captions(scene))
