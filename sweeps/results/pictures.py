"""Small pictures for the tracking pages."""

import textwrap

from PIL import Image, ImageDraw, ImageFont

SIDE = 256
"""Width of a captioned image in pixels; a thumbnail is half as large."""
_FONT = 17  # pixels
_LINE = 24  # height of a line of text, in pixels
_CHARACTERS = 28  # of the default font that fit into SIDE


def thumbnail(image: Image.Image) -> Image.Image:
    """Return the image with its longer side half of `SIDE`; a smaller one is enlarged."""
    return fitted(image, SIDE // 2)


def captioned(image: Image.Image, caption: str) -> Image.Image:
    """Return the image, `SIDE` wide, with the caption in lines on white below it."""
    lines = textwrap.wrap(caption, _CHARACTERS)[:4] or ["(empty)"]
    picture = fitted(image, SIDE)
    canvas = Image.new("RGB", (SIDE, picture.height + _LINE * len(lines) + 8), "white")
    canvas.paste(picture, ((SIDE - picture.width) // 2, 0))
    draw, font = ImageDraw.Draw(canvas), ImageFont.load_default(_FONT)
    for number, line in enumerate(lines):
        draw.text((4, picture.height + 4 + number * _LINE), line, fill="black", font=font)
    return canvas


def fitted(image: Image.Image, side: int) -> Image.Image:
    """Return the image scaled so that its longer side is `side`, in its own proportions."""
    scale = side / max(image.size)
    size = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
    return image.resize(size)
