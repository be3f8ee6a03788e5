"""Samples that a base cannot take, found before one of them ends a trial."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

from PIL import Image

from workers.data.sample import DataError, DataSet, Sample
from workers.families.base import Base
from workers.families.prompts import without_placeholder
from workers.recipe import Data

_TRIED = 50
"""Most sizes of images that are tried from either end."""
Size = tuple[int, int]


def fitting(base: Base, data_set: DataSet, described: Data) -> DataSet:
    """Return the data without the samples that the base cannot take, which are problems of it.

    Raises `DataError`, naming each of them, unless ``data.on_bad_sample`` is skip.
    """
    every = [sample for samples in data_set.splits.values() for sample in samples]
    refused = _refused_sizes(base, every)
    tokens = base.processor.tokenizer.convert_ids_to_tokens(sorted(base.family.image_tokens(base)))
    found = {
        sample.id: why
        for sample in every
        if (why := _refused_size(sample, refused) or _image_token(sample, tokens))
    }
    if not found:
        return data_set
    problems = [f"{id}: {why}" for id, why in found.items()]
    if described.on_bad_sample == "error":
        raise DataError.listing(str(described.path), problems)
    splits = {
        name: tuple(sample for sample in samples if sample.id not in found)
        for name, samples in data_set.splits.items()
    }
    empty = [name for name in ("train", "validation") if not splits[name]]
    if empty:
        lines = "".join(f"\n  {problem}" for problem in problems)
        raise DataError(
            f"data.path {described.path} has no sample in {' and '.join(empty)} that model.base "
            f"can take:{lines}",
            problems,
        )
    return replace(data_set, splits=splits, problems=(*data_set.problems, *problems))


def _refused_size(sample: Sample, refused: dict[Size, str]) -> str | None:
    if sample.size not in refused:
        return None
    width, height = sample.size
    return (
        f"the image processor of model.base refuses {width} x {height} pixels: "
        f"{refused[sample.size]}"
    )


def _image_token(sample: Sample, tokens: Sequence[str]) -> str | None:
    """Return where a text of the sample spells an image token, for which there is no image."""
    texts = {"question": (without_placeholder(sample.question or ""),), "caption": sample.captions}
    for kind, own in texts.items():
        for text in own:
            if token := next((token for token in tokens if token in text), None):
                return f"its {kind} has the model's image token {token!r}: {text!r}; take it out"
    return None


def _refused_sizes(base: Base, samples: Iterable[Sample]) -> dict[Size, str]:
    """Return the sizes of images that the base's processor does not take, with its reason.

    What a processor refuses is too long or too small, so sizes are tried from both ends, with a
    grey image, until one is taken.
    """
    sizes = {sample.size for sample in samples if sample.size is not None}
    found: dict[Size, str] = {}

    def long(size: Size) -> float:
        return -max(size) / min(size)

    def small(size: Size) -> float:
        return min(size)

    for order in (long, small):
        found |= dict(_refused_first(base, sorted(sizes, key=order)))
    return found


def _refused_first(base: Base, sizes: Sequence[Size]) -> Iterator[tuple[Size, str]]:
    for size in sizes[:_TRIED]:
        try:
            base.family.encode(base, Image.new("RGB", size, "grey"))
        except (ValueError, TypeError, RuntimeError, ZeroDivisionError) as error:
            yield size, str(error)
        else:
            return
