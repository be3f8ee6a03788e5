"""Small pictures for people: captioned ones for MLflow, and copies of the scored images.

The data set may be gone or far away when the report is made; a host, which has it open,
puts copies of the images on which the sweep is scored, and the base's captions, beside the results.
"""

import json
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from PIL import Image, ImageDraw, ImageFont

from sweeps.storage import copies
from workers.files.atomic import atomic_path
from workers.report import Prediction

if TYPE_CHECKING:
    from workers.data.sample import Sample

SIDE = 256
"""Width of a captioned image in pixels; a thumbnail is half as large."""
_FONT = 17  # pixels
_LINE = 24  # height of a line of text, in pixels
_CHARACTERS = 28  # of the default font that fit into SIDE
IMAGES = 100
"""Most images of which a copy is kept."""
_INDEX = "index.json"
_QUALITY = 80  # of JPEG, in percent


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


@dataclass(frozen=True, kw_only=True)
class ScoredImages:
    """Copies of the images that a sweep is scored on; empty for a sweep that has none."""

    pictures: Mapping[str, Path] = field(default_factory=dict)
    """Sample id -> JPEG."""
    questions: Mapping[str, str] = field(default_factory=dict)
    """Sample id -> question about the image, where there is one."""
    untrained: Mapping[str, str] = field(default_factory=dict)
    """Sample id -> caption of the base before training."""


def keep(folder: Path, samples: Sequence["Sample"], untrained: Sequence[Prediction]) -> None:
    """Write copies of the first `samples` and the base's captions to `folder`, once.

    Hosts that do so at the same time write the same; the first one to end wins.
    """
    if copies.holds(folder):
        return
    with atomic_path(folder) as partial:
        partial.mkdir(parents=True)
        index = {}
        for number, sample in enumerate(samples[:IMAGES]):
            picture = f"{number:03d}.jpg"
            fitted(sample.open(), SIDE).save(partial / picture, quality=_QUALITY)
            index[sample.id] = {"picture": picture, "question": sample.question}
        captions = {each.image_id: each.caption for each in untrained}
        (partial / _INDEX).write_text(json.dumps({"images": index, "untrained": captions}))
    copies.push(folder)


def read(folder: Path) -> ScoredImages:
    """Return the copies that `keep` wrote."""
    try:
        written = json.loads((folder / _INDEX).read_text())
    except FileNotFoundError:
        return ScoredImages()
    images = written["images"]
    return ScoredImages(
        pictures={id: folder / each["picture"] for id, each in images.items()},
        questions={id: each["question"] for id, each in images.items() if each["question"]},
        untrained=written["untrained"],
    )
