"""Small pictures for the tracking pages."""

import textwrap

from PIL import Image, ImageDraw

SIDE = 256
"""Width of a captioned image, and the longest side of a thumbnail is half of it, in pixels."""
_LINE = 16  # height of a line of text, in pixels
_CHARACTERS = 38  # of the default font that fit into SIDE


def thumbnail(image: Image.Image) -> Image.Image:
    """Return a copy of at most half `SIDE`; a smaller image is enlarged."""
    return _fitted(image, SIDE // 2)


def captioned(image: Image.Image, caption: str) -> Image.Image:
    """Return the image, `SIDE` wide, with the caption in lines on white below it."""
    lines = textwrap.wrap(caption, _CHARACTERS)[:4] or ["(empty)"]
    picture = _fitted(image, SIDE)
    canvas = Image.new("RGB", (SIDE, picture.height + _LINE * len(lines) + 8), "white")
    canvas.paste(picture, ((SIDE - picture.width) // 2, 0))
    text = "\n".join(lines)
    ImageDraw.Draw(canvas).multiline_text((4, picture.height + 2), text, fill="black", spacing=5)
    return canvas


def _fitted(image: Image.Image, side: int) -> Image.Image:
    """Return the image scaled so that its longer side is `side`, in its own proportions."""
    scale = side / max(image.size)
    size = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
    return image.resize(size)
