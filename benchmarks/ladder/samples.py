"""Images and captions from the folder, for B0 to B3."""

import csv
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, kw_only=True)
class Image:
    """One image of a split."""

    name: str
    path: Path
    captions: tuple[str, ...]


def read(folder: str, split: str) -> list[Image]:
    """Return the images that ``<split>.txt`` names, in its order."""
    root, captions = Path(folder), defaultdict[str, list[str]](list)
    with (root / "captions.csv").open(newline="") as file:
        for row in csv.DictReader(file):
            captions[row["image"]].append(row["caption"])
    names = (root / f"{split}.txt").read_text().split()
    return [Image(name=n, path=root / n, captions=tuple(captions[n])) for n in names]


def pairs(images: list[Image]) -> list[dict[str, str]]:
    """Return a row per caption: path of the image, and text."""
    return [{"image": str(i.path), "text": text} for i in images for text in i.captions]
