"""What a sweep keeps of the images that it is scored on: small copies, and the base's captions.

The data set may be gone or far away when somebody looks at the sweep; a host, which has it open,
puts these beside the results.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from sweeps.results.pictures import SIDE, fitted
from sweeps.storage import copies
from workers.files.atomic import atomic_path
from workers.report import Prediction

if TYPE_CHECKING:
    from workers.data.sample import Sample

IMAGES = 100
"""Most images of which a copy is kept."""
_INDEX = "index.json"
_QUALITY = 80  # of JPEG, in percent


@dataclass(frozen=True, kw_only=True)
class Keepsakes:
    """Read back; empty for a sweep that has none."""

    pictures: Mapping[str, Path] = field(default_factory=dict)
    """Sample id -> JPEG."""
    questions: Mapping[str, str] = field(default_factory=dict)
    """Sample id -> what is asked about the image, where something is."""
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


def read(folder: Path) -> Keepsakes:
    """Return what `keep` wrote."""
    try:
        written = json.loads((folder / _INDEX).read_text())
    except FileNotFoundError:
        return Keepsakes()
    images = written["images"]
    return Keepsakes(
        pictures={id: folder / each["picture"] for id, each in images.items()},
        questions={id: each["question"] for id, each in images.items() if each["question"]},
        untrained=written["untrained"],
    )
