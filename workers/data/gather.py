"""From candidate images to a data set: the rules that all sources of files share."""

import json
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from hashlib import sha256
from typing import TypeVar

from PIL import Image

from workers.data import splits
from workers.data.images import ImageError, open_rgb
from workers.data.problems import DataError, refusal
from workers.data.sample import SPLITS, DataSet, Sample
from workers.recipe import Data, Split

T = TypeVar("T")
R = TypeVar("R")


@dataclass(frozen=True, kw_only=True)
class SampleCandidate:
    """A sample whose image has not been looked at yet."""

    id: str
    image: str
    """Name of the image; candidates with the same one ask about the same image."""
    captions: tuple[str, ...]
    question: str | None = None
    splits: tuple[str, ...] = ()
    """The splits that name this sample, where they are told by sample and not by image."""
    read: Callable[[], bytes]
    """Returns the encoded image; may raise OSError."""

    def open(self) -> Image.Image:
        """Decode the image to upright RGB; raises `ImageError`."""
        return open_rgb(self.encoded(), self.image)

    def encoded(self) -> bytes:
        """Return the encoded image; raises `ImageError` where it cannot be read."""
        try:
            return self.read()
        except OSError as error:
            reason = error.strerror or error
            raise ImageError(f"{self.image}: cannot be read: {reason}") from error


def gather(
    data: Data,
    candidates: Sequence[SampleCandidate],
    problems: Sequence[str],
    listed: Mapping[str, Sequence[str]] | None = None,
    prepare: Callable[[Sequence[str]], None] | None = None,
) -> DataSet:
    """Draw, check and divide the candidates.

    `listed` is image -> the splits that name it, or None to divide by shares. Images that no
    list names are not used; a list may name images for which there is no candidate. With
    ``data.limit`` only the images drawn are opened, after `prepare` was called with their
    names. Each of those is read and fully decoded once, in threads: 1 to 2 ms of CPU per photo
    of 500 x 375 pixels, so about 12 s for 8,000 of them on one core.

    Raises `DataError` for any problem, all listed, unless ``data.on_bad_sample`` is skip, and
    always when a split is empty that ought to have images.
    """
    unique, repeated = _unique(candidates)
    by_image: dict[str, list[SampleCandidate]] = {}
    for each in unique:
        if listed is None or each.image in listed:
            by_image.setdefault(each.image, []).append(each)
    drawn = _draw(data, by_image, listed)
    if prepare:
        prepare(drawn)
    contents, broken = _check([by_image[image][0] for image in drawn])
    split_of, clashes = _assign(data, contents, listed)
    found = (*problems, *repeated, *broken, *clashes)
    if found and data.on_bad_sample == "error":
        raise refusal(str(data.path), found)
    checked = [each for image in contents for each in by_image[image]]
    divided = _divide(data, checked, split_of, contents)
    _refuse_empty(data, divided, found, listed)
    by_id = {each.id: contents[each.image] for each in checked}
    hashed = digest(divided, by_id)
    divided["test"] = _as_listed(divided["test"], unique)
    return DataSet(splits=divided, digest=hashed, problems=found)


def digest(divided: Mapping[str, Sequence[Sample]], contents: Mapping[str, str]) -> str:
    """Return a hex hash over split, id, image content, captions and question of every sample.

    `contents` is sample id -> hash of the image's bytes.
    """
    entries = [
        [name, sample.id, contents[sample.id], sample.captions, sample.question]
        for name in SPLITS
        for sample in divided[name]
    ]
    return sha256(json.dumps(entries).encode()).hexdigest()


def in_threads(function: Callable[[T], R], items: Iterable[T]) -> list[R]:
    """Return `function` of each item, in order; Pillow and hashing let go of the GIL."""
    with ThreadPoolExecutor(max_workers=min(8, os.cpu_count() or 1)) as pool:
        return list(pool.map(function, items))


def _unique(candidates: Iterable[SampleCandidate]) -> tuple[list[SampleCandidate], list[str]]:
    """Return the first candidate of each id, and a problem for each id that comes again."""
    by_id: dict[str, SampleCandidate] = {}
    repeated = {
        each.id: f"{each.id}: more than one sample has this id"
        for each in candidates
        if by_id.setdefault(each.id, each) is not each
    }
    return list(by_id.values()), list(repeated.values())


def _draw(
    data: Data, images: Iterable[str], listed: Mapping[str, Sequence[str]] | None
) -> list[str]:
    if listed is None:
        return splits.draw(images, data.limit, data.seed)
    return splits.draw_listed({name: listed[name] for name in images}, data.limit, data.seed)


def _assign(
    data: Data, contents: Mapping[str, str], listed: Mapping[str, Sequence[str]] | None
) -> tuple[dict[str, str], list[str]]:
    """Return image -> split, and a problem for each image that is listed for two."""
    if listed is None:
        return splits.by_shares(contents, data.split or Split(), data.seed), []
    return splits.by_lists(contents, listed)


def _check(candidates: Sequence[SampleCandidate]) -> tuple[dict[str, str], list[str]]:
    """Return image -> hash of its bytes for images that decode, and the other ones' faults."""
    found = in_threads(_content, candidates)
    contents = {
        each.image: result
        for each, result in zip(candidates, found, strict=True)
        if isinstance(result, str)
    }
    return contents, [str(result) for result in found if isinstance(result, ImageError)]


def _content(candidate: SampleCandidate) -> str | ImageError:
    try:
        encoded = candidate.encoded()
        open_rgb(encoded, candidate.image)
    except ImageError as error:
        return error
    return sha256(encoded).hexdigest()


def _divide(
    data: Data,
    candidates: Iterable[SampleCandidate],
    split_of: Mapping[str, str],
    contents: Mapping[str, str],
) -> dict[str, tuple[Sample, ...]]:
    """Return split -> samples; a sample stays out where another split has kept its image."""
    final = _hold_out(data, split_of, contents)
    divided: dict[str, list[Sample]] = {name: [] for name in SPLITS}
    for each in candidates:
        split = split_of.get(each.image)
        if split and (not each.splits or split in each.splits):
            sample = Sample(
                id=each.id, open=each.open, captions=each.captions, question=each.question
            )
            divided[final[each.image]].append(sample)
    return {name: tuple(samples) for name, samples in divided.items()}


def _as_listed(
    samples: Iterable[Sample], candidates: Iterable[SampleCandidate]
) -> tuple[Sample, ...]:
    """Return the samples in the order of the candidates, in which predictions are handed in."""
    places = {each.id: place for place, each in enumerate(candidates)}
    return tuple(sorted(samples, key=lambda sample: places[sample.id]))


def _hold_out(
    data: Data, split_of: Mapping[str, str], contents: Mapping[str, str]
) -> Mapping[str, str]:
    """Return `split_of` with validation taken from train, where the recipe says so."""
    if data.split is None or not data.split.named or isinstance(data.split.validation, str):
        return split_of
    return splits.hold_out(split_of, contents, data.split.validation, data.seed)


def _refuse_empty(
    data: Data,
    divided: Mapping[str, Sequence[Sample]],
    problems: Sequence[str],
    listed: Mapping[str, Sequence[str]] | None,
) -> None:
    wanted = {"train", "validation", *(name for names in (listed or {}).values() for name in names)}
    empty = [name for name in SPLITS if name in wanted and not divided[name]]
    if empty:
        counts = ", ".join(f"{name} {len(divided[name])}" for name in SPLITS)
        raise DataError(
            f"data.split leaves no image for {' and '.join(empty)} of data.path {data.path} "
            f"({counts} images; {len(problems)} problems skipped)"
            + "".join(f"\n  {problem}" for problem in problems),
            problems,
        )
