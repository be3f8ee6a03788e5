"""A folder of many image-caption rows, 5 % of them bad, for ``sweeps check FILE``.

    python -m benchmarks.many_rows FOLDER --rows 100000
    /usr/bin/time -v sweeps check rows.yaml        # data: {source: folder, path: FOLDER}

Of the bad rows a third each has no image, no caption and broken JSON.
"""

import argparse
import json
import random
from pathlib import Path

from PIL import Image

WORDS = (
    "a",
    "the",
    "red",
    "small",
    "cat",
    "dog",
    "man",
    "house",
    "tree",
    "table",
    "riding",
    "near",
)


def write(folder: Path, rows: int) -> None:
    images, draw = folder / "images", random.Random(0)
    images.mkdir(parents=True)
    with (folder / "metadata.jsonl").open("w") as file:
        for number in range(rows):
            name, fault = f"{number:06d}.jpg", number // 20 % 3 if number % 20 == 7 else None
            if fault != 0:
                size = draw.randrange(40, 120), draw.randrange(40, 120)
                colour = (draw.randrange(256), draw.randrange(256), number % 256)
                Image.new("RGB", size, colour).save(images / name, quality=50)
            caption = "" if fault == 1 else " ".join(draw.choices(WORDS, k=draw.randrange(5, 20)))
            row = json.dumps({"file_name": name, "text": caption})
            file.write(f"{row[:-3] if fault == 2 else row}\n")


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("--rows", type=int, default=100_000)
    arguments = parser.parse_args()
    write(arguments.folder, arguments.rows)
