"""Data source `karpathy`: ``dataset_coco.json``, ``dataset_flickr8k.json`` and their like.

``data.path`` is the file or its folder. Each image in it names its split; ``restval`` is part
of train, as in the literature. Shares in ``data.split`` divide all images anew. The images lie
in ``data.images``, or beside the file as it says or in ``images/``.
"""

from workers.data.coco import PLACES as COCO_PLACES
from workers.data.entries import Description, SampleEntry, with_text
from workers.data.flickr8k import PLACES as FLICKR_PLACES
from workers.data.locate import file_of
from workers.data.sample import DataError
from workers.data.text_files import as_text, read_json_lists
from workers.recipe import Data

OPTIONS = ("images",)
SPLIT_OF = {
    **{"train": "train", "restval": "train"},
    **{"val": "validation", "validation": "validation", "test": "test"},
}
"""Split in the file -> split."""


def describe(data: Data) -> Description:
    """Describe the file; a sample's id is COCO's number of the image, or else its file name.

    Raises `DataError` when the file is missing or not of this form.
    """
    if data.split and data.split.named:
        raise DataError("data.split must be left out, or be shares: the file names its splits")
    file = file_of(data.path, "dataset*.json")
    (images,) = read_json_lists(file, "images")
    entries: list[SampleEntry] = []
    problems: list[str] = []
    for number, image in enumerate(images, 1):
        place = f"{file.name} image {number}"
        name, split = as_text(image, "filename"), as_text(image, "split")
        sentences = image.get("sentences")
        texts = [as_text(each, "raw") for each in sentences] if isinstance(sentences, list) else []
        captions = tuple(text for text in texts if text is not None)
        if not name or not captions or len(captions) < len(texts):
            needed = "must be an object with filename and sentences, each with raw"
            problems.append(f"{place}: {needed}")
        elif split not in SPLIT_OF:
            allowed = ", ".join(SPLIT_OF)
            problems.append(f"{name}: split must be one of {allowed}; got {split!r} ({place})")
        else:
            folder = as_text(image, "filepath")
            entries.append(
                SampleEntry(
                    id=as_text(image, "cocoid") or name,
                    image=f"{folder}/{name}" if folder else name,
                    captions=captions,
                    place=place,
                    splits=() if data.split else (SPLIT_OF[split],),
                )
            )
    entries, faults = with_text(entries)
    return Description(
        data=data,
        tables=[file],
        entries=entries,
        problems=[*problems, *faults],
        folder=file.parent,
        places=(*COCO_PLACES, *FLICKR_PLACES),
    )
