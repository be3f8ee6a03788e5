"""Requests to a captioner: their fields, limits and images.

Nothing here needs torch: a bad request is refused before anything is computed.
"""

import base64
import binascii
import errno
import os
import re
import stat
from collections.abc import Sequence
from io import BytesIO
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict, field_validator

from workers.data.images import FORMATS, ImageError, open_rgb

if TYPE_CHECKING:
    from PIL import Image

MAX_IMAGES = 64
"""Most images in one call."""
MAX_BYTES = 21_000_000
"""Size of the largest image file."""
MAX_ENCODED = 28_000_000
"""Most characters of base64 in one image: `MAX_BYTES`."""
MAX_PIXELS = 50_000_000
"""Pixels of the largest image."""
MAX_CALL_BYTES = 64_000_000
"""Bytes of all image files of a call."""
MAX_CALL_PIXELS = 100_000_000
"""Pixels of all images of a call."""
MAX_NEW_TOKENS = 256
MAX_QUESTION = 2000
"""Most characters of a question."""
_SURROGATE = re.compile(r"[\ud800-\udfff]")
"""What JSON can write and UTF-8, and with it file names and tokenizers, cannot."""
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
# O_NONBLOCK: opening a pipe must not wait for its writer.
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


class RequestError(ValueError):
    """A request that cannot be answered; the message is one sentence that names its place."""


class CaptionRequest(BaseModel):
    """One image to caption or to ask about.

    The types of the fields are what is expected; `check` validates what was sent. MLflow validates
    requests against this class, and its error repeats the whole request, image and all.
    """

    model_config = ConfigDict(extra="allow")

    image: str | None = None
    """A JPEG, PNG or other usual image file in base64."""
    path: str | None = None
    """Instead of `image`: an image in the folder that the server allows, relative to it."""
    max_new_tokens: int | None = None
    """From 1 to `MAX_NEW_TOKENS`; None is what the model was trained with."""
    question: str | None = None
    """What is asked about the image; needed by, and only by, a model that answers questions."""

    @field_validator("*", mode="plain")
    @classmethod
    def _as_sent(cls, value: Any) -> Any:
        return value


def parse(data: Any) -> list[CaptionRequest]:
    """Return the requests of a call's decoded JSON, checked; raises `RequestError`."""
    if not isinstance(data, list):
        raise RequestError(f"inputs must be a list of requests, got {_kind(data)}")
    check_count(len(data))
    for number, item in enumerate(data):
        if not isinstance(item, dict):
            raise RequestError(
                f'inputs[{number}] must be an object such as {{"image": "<base64>"}}, '
                f"got {_kind(item)}"
            )
    return [CaptionRequest.model_validate(item) for item in data]


def check_count(images: int) -> None:
    """Refuse a call with no image, or with more than `MAX_IMAGES`."""
    if not 1 <= images <= MAX_IMAGES:
        raise RequestError(
            f"inputs must have from 1 to {MAX_IMAGES} images, got {images}"
            + ("; send the others in further calls" if images else "")
        )


def check(request: CaptionRequest, name: str) -> None:
    """Refuse a request with fields of wrong names, types or sizes; `name` is its place."""
    unknown = next(iter(request.model_extra or {}), None)
    if unknown is not None:
        known = ", ".join(CaptionRequest.model_fields)
        raise RequestError(f"{name} has the unknown field {unknown[:40]!r}; there are {known}")
    if (request.image is None) == (request.path is None):
        raise RequestError(f"{name} must have image (base64), or path instead of it")
    for field in ("image", "path", "question"):
        value = getattr(request, field)
        if not isinstance(value, str | None):
            raise RequestError(f"{name}.{field} must be a string, got {_kind(value)}")
        if field != "image" and _SURROGATE.search(value or ""):
            raise RequestError(f"{name}.{field} must be Unicode text, got a lone surrogate")
    length = len(request.question or "")
    if length > MAX_QUESTION:
        raise RequestError(
            f"{name}.question must have at most {MAX_QUESTION} characters, got {length}"
        )
    tokens = request.max_new_tokens
    if not isinstance(tokens, int | None) or isinstance(tokens, bool):
        raise RequestError(f"{name}.max_new_tokens must be a whole number, got {_kind(tokens)}")
    if tokens is not None and not 1 <= tokens <= MAX_NEW_TOKENS:
        shown = tokens if abs(tokens) < 10**9 else "a huge number"
        raise RequestError(f"{name}.max_new_tokens must be from 1 to {MAX_NEW_TOKENS}, got {shown}")


def measure(requests: Sequence[CaptionRequest], folder: Path | None) -> list[int]:
    """Check a whole call and return the pixels of each image, of which only headers are read.

    `folder` is as in `open_image`. Raises `RequestError`.
    """
    check_count(len(requests))
    pixels: list[int] = []
    size = 0
    for number, request in enumerate(requests):
        check(request, f"inputs[{number}]")
        data, name = _data(request, f"inputs[{number}]", folder)
        size += len(data)
        if size > MAX_CALL_BYTES:
            raise RequestError(
                f"the images of a call must have at most {MAX_CALL_BYTES} bytes in all; send "
                "fewer at a time"
            )
        pixels.append(_pixels(data, name))
    if sum(pixels) > MAX_CALL_PIXELS:
        raise RequestError(
            f"the images of a call must have at most {MAX_CALL_PIXELS} pixels in all, got "
            f"{sum(pixels)}; send fewer at a time, or smaller ones"
        )
    return pixels


def open_image(request: CaptionRequest, name: str, folder: Path | None) -> "Image.Image":
    """Return the image of a checked request, RGB and upright; raises `RequestError`.

    `folder` is where images may be named by path; None allows no path.
    """
    data, name = _data(request, name, folder)
    _pixels(data, name)
    try:
        return open_rgb(data, name)
    except ImageError as error:
        why = "it takes too much memory" if isinstance(error.__cause__, MemoryError) else ""
        raise RequestError(f"{error}{why}") from None


def _data(request: CaptionRequest, name: str, folder: Path | None) -> tuple[bytes, str]:
    """Return the image file of a request, and its name in errors."""
    if request.image is not None:
        name = f"{name}.image"
        if len(request.image) > MAX_ENCODED:
            raise RequestError(
                f"{name} must have at most {MAX_ENCODED} characters of base64, "
                f"got {len(request.image)}"
            )
        try:
            return base64.b64decode(request.image, validate=True), name
        except (binascii.Error, ValueError):
            raise RequestError(
                f"{name} must be an image file in base64, got something else"
            ) from None
    name, path = f"{name}.path", str(request.path)
    if folder is None:
        raise RequestError(f"{name}: this server reads no files; send the image itself as base64")
    try:
        return read_within(folder, path, MAX_BYTES), name
    except OSError as error:
        raise RequestError(
            f"{name} must name a file of at most {MAX_BYTES} bytes in the server's image folder, "
            f"relative to it and through no link, got {path[:200]!r}: {error.strerror}"
        ) from None


def read_within(folder: Path, path: str, limit: int) -> bytes:
    """Return the bytes of a file of at most `limit` bytes, by its path relative to `folder`.

    Each step is opened from the one before and follows no link, so nothing outside is reached,
    also while somebody changes the folder. `folder` itself may be a link.

    Raises OSError for an absolute path, one with ``..``, links, missing files, and what is no
    plain file or larger than `limit`.
    """
    parts = PurePosixPath(path).parts
    if not parts or parts[0] == "/" or ".." in parts or "\0" in path:
        raise PermissionError(errno.EACCES, "no path within the folder")
    opened = [os.open(folder, _FOLDER & ~os.O_NOFOLLOW)]
    try:
        for part in parts[:-1]:
            opened.append(os.open(part, _FOLDER, dir_fd=opened[-1]))
        opened.append(os.open(parts[-1], _FILE, dir_fd=opened[-1]))
        if not stat.S_ISREG(os.fstat(opened[-1]).st_mode):
            raise PermissionError(errno.EACCES, "no plain file")
        with open(opened[-1], "rb", closefd=False) as file:
            content = file.read(limit + 1)
    finally:
        for descriptor in opened:
            os.close(descriptor)
    if len(content) > limit:
        raise OSError(errno.EFBIG, "too large")
    return content


def _pixels(data: bytes, name: str) -> int:
    """Return the size in pixels; reads only the header: a small file may decode to gigabytes."""
    from PIL import Image

    try:
        with Image.open(BytesIO(data), formats=FORMATS) as image:
            width, height = image.size
    except Image.DecompressionBombError:
        raise RequestError(
            f"{name} must have at most {MAX_PIXELS} pixels; send it smaller"
        ) from None
    except Exception:  # damaged bytes make Pillow's readers raise nearly anything
        known = ", ".join(FORMATS)
        raise RequestError(f"{name} is not an image of a known format ({known})") from None
    if width * height > MAX_PIXELS:
        raise RequestError(
            f"{name} must have at most {MAX_PIXELS} pixels, got {width} x {height}; send it smaller"
        )
    return width * height


def _kind(value: Any) -> str:
    """Name the JSON type of a value."""
    kinds = {dict: "an object", list: "a list", str: "a string", bool: "true or false"}
    return "nothing" if value is None else kinds.get(type(value), "a number")
