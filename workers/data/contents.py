"""The bytes of a data set's images: all read and decoded, or looked at without that."""

import os
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from hashlib import sha256
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from workers.data.images import UNROTATED, ImageError, open_rgb, read_size
from workers.data.links import is_link

if TYPE_CHECKING:
    from workers.data.gather import SampleCandidate

T = TypeVar("T")
R = TypeVar("R")
_AT_ONCE = 512
"""Items in the queue of the threads: of a hundred thousand it would take the memory."""
_END = 4096
"""Bytes at the end of a file by which it is told from others of its length."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Content:
    """An image that was read."""

    digest: str
    """SHA-256 of the encoded image; see `Reading.decode`."""
    size: tuple[int, int] | None = None
    """Width and height in pixels, upright; None where it was not looked at."""
    unrotated: bool = False
    """Its orientation is damaged, so that it is taken as it lies."""


@dataclass(frozen=True, kw_only=True)
class Reading:
    """How the images of a data set are read while it is loaded."""

    decode: bool = True
    """Whether each is fully decoded. Otherwise headers are read, links are not followed, and of a
    file the digest is that of its length and end where no other has the same: good for a look at
    the data, and not for what is kept, since shares divide by it."""
    progress: Callable[[int, int], None] | None = None
    """Is told how many images are done, of how many."""


DECODED = Reading()
"""What is trained on."""


def read_contents(
    candidates: Sequence["SampleCandidate"], reading: Reading
) -> list[Content | ImageError]:
    """Return what is in each image, or why it cannot be used."""
    if reading.decode:
        return in_threads(partial(read_content, decode=True), candidates, reading.progress)
    seen = in_threads(_glance, candidates, reading.progress)
    digests = Counter(content.digest for content in seen if isinstance(content, Content))
    return [
        replace(content, digest=sha256(each.file.read_bytes()).hexdigest())
        if isinstance(content, Content) and each.file and digests[content.digest] > 1
        else content
        for each, content in zip(candidates, seen, strict=True)
    ]


def read_content(candidate: "SampleCandidate", *, decode: bool) -> Content | ImageError:
    """Return what is in the image, or why it cannot be read or, if asked, decoded."""
    try:
        encoded = candidate.encoded()
        image = open_rgb(encoded, candidate.image) if decode else None
    except ImageError as error:
        return error
    digest = sha256(encoded).hexdigest()
    if image is None:
        return Content(digest=digest)
    return Content(digest=digest, size=image.size, unrotated=UNROTATED in image.info)


def _glance(candidate: "SampleCandidate") -> Content | ImageError:
    if is_link(candidate.image):
        return Content(digest=sha256(candidate.image.encode("utf-8", "replace")).hexdigest())
    try:
        source = candidate.file or candidate.encoded()
        size = read_size(source, candidate.image)
        end = _length_and_end(source) if isinstance(source, Path) else source
    except ImageError as error:
        return error
    except OSError as error:
        return ImageError(f"{candidate.image}: cannot be read: {error.strerror or error}")
    return Content(digest=sha256(end).hexdigest(), size=size)


def _length_and_end(file: Path) -> bytes:
    with file.open("rb") as opened:
        length = opened.seek(0, os.SEEK_END)
        opened.seek(max(0, length - _END))
        return length.to_bytes(8) + opened.read(_END)


def in_threads(
    function: Callable[[T], R],
    items: Sequence[T],
    progress: Callable[[int, int], None] | None = None,
) -> list[R]:
    """Return `function` of each item, in order; Pillow and hashing release the GIL."""
    found: list[R] = []
    rest: Iterator[T] = iter(items)
    with ThreadPoolExecutor(max_workers=min(8, os.cpu_count() or 1)) as pool:
        while some := list(islice(rest, _AT_ONCE)):
            found += pool.map(function, some)
            if progress:
                progress(len(found), len(items))
    return found
