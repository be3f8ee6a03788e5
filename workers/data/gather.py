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
from workers.recipe import Data

T = TypeVar("T")
R = TypeVar("R")


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """An image with captions whose bytes have not been looked at yet."""

    id: str
    captions: tuple[str, ...]
    read: Callable[[], bytes]
    """Returns the encoded image; may raise OSError."""

    def open(self) -> Image.Image:
        """Decode the image to upright RGB; raises `ImageError`."""
        return open_rgb(self.encoded(), self.id)

    def encoded(self) -> bytes:
        """Return the encoded image; raises `ImageError` where it cannot be read."""
        try:
            return self.read()
        except OSError as error:
            raise ImageError(f"{self.id}: cannot be read: {error.strerror or error}") from error


def gather(
    data: Data,
    candidates: Sequence[Candidate],
    problems: Sequence[str],
    listed: Mapping[str, Sequence[str]] | None = None,
) -> DataSet:
    """Draw, check and divide the candidates.

    `listed` is image id -> the splits that name it, or None to divide by shares; images that
    no list names are not used. With ``data.limit`` only the images drawn are opened. Each of
    those is read and fully decoded once, in threads: 1 to 2 ms of CPU per photo of 500 x 375
    pixels, so about 12 s for 8,000 of them on one core.

    Raises `DataError` for any problem, all listed, unless ``data.on_bad_sample`` is skip, and
    always when train or validation is empty.
    """
    known = {each.id: each for each in candidates if listed is None or each.id in listed}
    drawn = splits.draw(known, data.limit, data.seed)
    contents, broken = _check([known[id] for id in drawn])
    split_of, clashes = (
        (splits.by_shares(contents, data.split, data.seed), [])
        if listed is None
        else splits.by_lists(contents, listed)
    )
    found = (*problems, *broken, *clashes)
    if found and data.on_bad_sample == "error":
        raise refusal(str(data.path), found)
    divided = _divide([known[id] for id in contents], split_of)
    _refuse_empty(data, divided, found)
    return DataSet(splits=divided, digest=digest(divided, contents), problems=found)


def digest(divided: Mapping[str, Sequence[Sample]], contents: Mapping[str, str]) -> str:
    """Return a hex hash over split, id, image content and captions of every sample.

    `contents` is image id -> hash of the image's bytes.
    """
    entries = [
        [name, sample.id, contents[sample.id], sample.captions]
        for name in SPLITS
        for sample in divided[name]
    ]
    return sha256(json.dumps(entries).encode()).hexdigest()


def in_threads(function: Callable[[T], R], items: Iterable[T]) -> list[R]:
    """Return `function` of each item, in order; Pillow and hashing let go of the GIL."""
    with ThreadPoolExecutor(max_workers=min(8, os.cpu_count() or 1)) as pool:
        return list(pool.map(function, items))


def _check(candidates: Sequence[Candidate]) -> tuple[dict[str, str], list[str]]:
    """Return image id -> hash of its bytes for images that decode, and the other ones' faults."""
    found = in_threads(_content, candidates)
    contents = {
        each.id: result
        for each, result in zip(candidates, found, strict=True)
        if isinstance(result, str)
    }
    return contents, [str(result) for result in found if isinstance(result, ImageError)]


def _content(candidate: Candidate) -> str | ImageError:
    try:
        encoded = candidate.encoded()
        open_rgb(encoded, candidate.id)
    except ImageError as error:
        return error
    return sha256(encoded).hexdigest()


def _divide(
    candidates: Iterable[Candidate], split_of: Mapping[str, str]
) -> dict[str, tuple[Sample, ...]]:
    divided: dict[str, list[Sample]] = {name: [] for name in SPLITS}
    for each in candidates:
        if each.id in split_of:
            sample = Sample(id=each.id, open=each.open, captions=each.captions)
            divided[split_of[each.id]].append(sample)
    return {name: tuple(samples) for name, samples in divided.items()}


def _refuse_empty(
    data: Data, divided: Mapping[str, Sequence[Sample]], problems: Sequence[str]
) -> None:
    empty = [name for name in ("train", "validation") if not divided[name]]
    if empty:
        counts = ", ".join(f"{name} {len(divided[name])}" for name in SPLITS)
        raise DataError(
            f"data.split leaves no image for {' and '.join(empty)} of data.path {data.path} "
            f"({counts} images; {len(problems)} problems skipped)"
            + "".join(f"\n  {problem}" for problem in problems),
            problems,
        )
