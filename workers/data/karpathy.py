"""Data source `karpathy`: ``dataset_coco.json``, ``dataset_flickr8k.json`` and their like.

``data.path`` is the file or its folder. Each image in it names its split; ``restval`` is part
of train, as in the literature. Shares in ``data.split`` divide all images anew. The images lie
in ``data.images``, or beside the file as it says or in ``images/``.
"""

from collections.abc import Mapping
from typing import Any

from workers.data.coco import PLACES as COCO_PLACES
from workers.data.entries import Described, SampleEntry, load_entries, local_files, with_text
from workers.data.flickr8k import PLACES as FLICKR_PLACES
from workers.data.json_files import as_text, read_lists
from workers.data.locate import file_of
from workers.data.problems import DataError
from workers.data.sample import DataFiles, DataSet
from workers.recipe import Data

OPTIONS = ("images",)
SPLIT_OF = {
    "train": "train",
    "restval": "train",
    "val": "validation",
    "validation": "validation",
    "test": "test",
}
"""Split in the file -> split."""


def load(data: Data) -> DataSet:
    """Load the file; a sample's id is COCO's number of the image, or else its file name.

    Raises `DataError` as `workers.data.gather.gather` does, and when the file is missing or
    not of this form.
    """
    return load_entries(describe(data))


def files(data: Data) -> DataFiles:
    """List the files that `load` reads; raises `DataError` as it does before it opens an image."""
    return local_files(describe(data))


def describe(data: Data) -> Described:
    """Read the file."""
    if data.split and data.split.named:
        raise DataError("data.split must be left out, or be shares: the file names its splits")
    file = file_of(data.path, "dataset*.json")
    (images,) = read_lists(file, "images")
    entries: list[SampleEntry] = []
    problems: list[str] = []
    for number, image in enumerate(images, 1):
        found = _entry(image, f"{file.name} image {number}", divided=data.split is not None)
        if isinstance(found, SampleEntry):
            entries.append(found)
        else:
            problems.append(found)
    entries, faults = with_text(entries)
    return Described(
        data=data,
        tables=[file],
        entries=entries,
        problems=[*problems, *faults],
        folder=file.parent,
        places=(*COCO_PLACES, *FLICKR_PLACES),
    )


def _entry(image: Mapping[str, Any], place: str, divided: bool) -> SampleEntry | str:
    """Return the entry of an image, or what is wrong with it; `divided` anew by shares."""
    name, split = as_text(image, "filename"), as_text(image, "split")
    sentences = image.get("sentences")
    captions = [as_text(each, "raw") for each in sentences] if isinstance(sentences, list) else []
    if not name or not captions or None in captions:
        return f"{place}: must be an object with filename and sentences, each with raw"
    if split not in SPLIT_OF:
        return f"{name}: split must be one of {', '.join(SPLIT_OF)}; got {split!r} ({place})"
    folder = as_text(image, "filepath")
    return SampleEntry(
        id=as_text(image, "cocoid") or name,
        image=f"{folder}/{name}" if folder else name,
        captions=tuple(caption for caption in captions if caption is not None),
        place=place,
        splits=() if divided else (SPLIT_OF[split],),
    )
