"""Any image file becomes an upright RGB image, or an error that names it."""

from collections.abc import Callable, Mapping
from contextlib import suppress
from io import BytesIO
from pathlib import Path
from typing import BinaryIO, TypeVar

from PIL import Image, ImageOps, UnidentifiedImageError

FORMATS = ("AVIF", "BMP", "GIF", "JPEG", "JPEG2000", "PNG", "PPM", "TIFF", "WEBP")
"""The formats that are opened, by Pillow's names: what cameras, phones (``MPO`` is a JPEG to
Pillow) and the web make, PPM and JPEG 2000 for research sets and satellites. Each is decoded
within this process. Pillow opens some thirty more that are not trained on: EPS by starting
Ghostscript, and ones whose decoders are little used and so little tested."""
UNROTATED = "unrotated"
"""Key in the `info` of an image whose orientation cannot be read."""
_OTHERS: Mapping[bytes, str] = {
    b"%!PS": "EPS or PostScript",
    b"\xc5\xd0\xd3\xc6": "EPS",
    b"%PDF": "PDF",
    b"8BPS": "PSD",
    b"\0\0\1\0": "ICO",
    b"<svg": "SVG",
    b"<?xml": "XML or SVG",
    b"<html": "HTML",
    b"<!DOCTYPE html": "HTML",
    b"version https://git-lfs": "a pointer of Git LFS",
}
"""How files of other kinds begin that are found under the names of images."""
_ORIENTATION, _SIDEWAYS = 0x0112, (5, 6, 7, 8)
Used = TypeVar("Used")
_BEGIN = 64
"""Bytes by which such a file is known."""
MAX_PIXELS = 89_478_485
"""Pixels of the largest image that is decoded: a quarter of a gigabyte in RGB. A small file
can claim to be of any size, and decoding it would take the memory."""
_TOO_LARGE = f"too large to be decoded: {{}}, the limit is {MAX_PIXELS} in all; scale it down"


class ImageError(ValueError):
    """An image that cannot be decoded completely; the message starts with its name."""


def open_rgb(source: str | Path | bytes, name: str | None = None) -> Image.Image:
    """Decode a whole image: mode RGB, upright, transparency on white.

    `source` is a path or the encoded bytes; `name` is what an error calls it (the path when left
    out). An animation gives its first frame.

    Raises `ImageError` when the file is missing, truncated, of none of `FORMATS`, or of more than
    `MAX_PIXELS` pixels.
    """
    return _opened(source, name, _whole)


def read_size(source: str | Path | bytes, name: str | None = None) -> tuple[int, int]:
    """Return the upright width and height of an image from its header, as `open_rgb` has them.

    Raises `ImageError` as `open_rgb` does for what is seen there, which its pixels are not.
    """
    return _opened(source, name, _upright_size)


def _opened(
    source: str | Path | bytes, name: str | None, use: Callable[[Image.Image], Used]
) -> Used:
    label = name or ("image" if isinstance(source, bytes) else str(source))
    try:
        # Read as far as the format wants: a file that is no image may have any size.
        with BytesIO(source) if isinstance(source, bytes) else Path(source).open("rb") as file:
            return _used(file, label, use)
    except ImageError:
        raise
    except Image.DecompressionBombError as error:  # at twice the limit Pillow itself refuses
        size = str(error).partition(" exceeds")[0]
        raise ImageError(f"{label}: {_TOO_LARGE.format(size)}") from error
    except OSError as error:
        raise ImageError(f"{label}: cannot be decoded: {error.strerror or error}") from error
    except Exception as error:  # on damaged bytes Pillow's decoders raise nearly anything
        raise ImageError(f"{label}: cannot be decoded: {error}") from error


def _used(file: BinaryIO, label: str, use: Callable[[Image.Image], Used]) -> Used:
    try:
        with Image.open(file, formats=FORMATS) as image:
            if image.width * image.height > MAX_PIXELS:
                size = f"{image.width} x {image.height} pixels"
                raise ImageError(f"{label}: {_TOO_LARGE.format(size)}")
            return use(image)
    except UnidentifiedImageError as error:
        file.seek(0)
        content = file.read(_BEGIN)
        kind = next((kind for start, kind in _OTHERS.items() if content.startswith(start)), None)
        if content[4:8] == b"ftyp" and content[8:11] != b"avi":  # else a damaged AVIF
            kind = "HEIC or video"
        allowed = f"{', '.join(FORMATS[:-1])} or {FORMATS[-1]}"
        known = f", but {kind}; convert it to {allowed}" if kind else f": {allowed}"
        raise ImageError(f"{label}: not an image of a known format{known}") from error


def _whole(image: Image.Image) -> Image.Image:
    image.load()
    return _to_rgb(_upright(image))


def _upright_size(image: Image.Image) -> tuple[int, int]:
    sideways = False
    # To look for EXIF behind the pixels of a PNG, Pillow would decode them.
    if image.format != "PNG" or "exif" in image.info:
        with suppress(Exception):  # as in `_upright`
            sideways = image.getexif().get(_ORIENTATION) in _SIDEWAYS
    return (image.height, image.width) if sideways else (image.width, image.height)


def _upright(image: Image.Image) -> Image.Image:
    """Return the image as its EXIF orientation says; as it is, marked so, where that is damaged."""
    try:
        return ImageOps.exif_transpose(image)
    except Exception:  # on damaged bytes the reader of EXIF raises nearly anything
        taken = image.copy()
        taken.info = {UNROTATED: True}  # the damaged block would be read again
        return taken


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode in ("I", "F") or image.mode.startswith("I;16"):
        # Scale a deep gray image so that its white is 255; Pillow itself would clip at 255. The
        # white of 32-bit and float files is unknown: the smallest usual one that covers them.
        white = 65535.0
        if image.mode in ("I", "F"):
            brightest = float(image.getextrema()[1])  # type: ignore[arg-type]
            white = next((usual for usual in (1.0, 255.0, white) if brightest <= usual), brightest)
        image = image.convert("F").point(lambda value: value * (255 / white)).convert("L")
    if not image.has_transparency_data:
        return image.convert("RGB")
    # Dropping the alpha channel would show the colour hidden under transparent pixels, mostly
    # black, in which dark lines vanish; drawings are made for a light page.
    layer = image.convert("RGBA")
    page = Image.new("RGBA", layer.size, "white")
    page.alpha_composite(layer)
    return page.convert("RGB")
