"""Data source `coco`: captions in COCO's JSON form, ``captions_*.json``.

``data.path`` is one such file, divided by shares, or a folder: with shares of the only such
file in it or in its ``annotations/``, or with the files that ``data.split`` names
(``{train: captions_train2017.json, validation: 0.02, test: captions_val2017.json}``). The
images lie in ``data.images``, or beside in ``train2017/``, ``val2014/``, ``images/`` and so on.
"""

from pathlib import Path

from workers.data.entries import Description, SampleEntry, with_text
from workers.data.locate import IMAGE_FOLDERS, file_of, files_of_splits, folder_of
from workers.data.text_files import as_text, read_json_lists
from workers.recipe import Data

OPTIONS = ("images",)
ANNOTATIONS = "annotations"
_YEARS = tuple(f"{name}{year}" for year in (2017, 2014) for name in ("train", "val", "test"))
_INNER = tuple(f"{folder}/{year}" for folder in IMAGE_FOLDERS for year in _YEARS)
PLACES = (*IMAGE_FOLDERS, *_YEARS, *_INNER)


def describe(data: Data) -> Description:
    """Describe the annotation files; a sample's id is COCO's number of the image, as text.

    Raises `DataError` when a file is missing or is not of COCO's form.
    """
    if data.split is None or not data.split.named:
        file = file_of(data.path, "captions*.json", f"{ANNOTATIONS}/captions*.json")
        files: dict[Path, tuple[str, ...]] = {file: ()}
    else:
        folder = folder_of(data.path)
        inner = folder / ANNOTATIONS
        place = inner if inner.is_dir() else folder
        files = files_of_splits(place, data.split, "a file of captions")
    entries: list[SampleEntry] = []
    problems: list[str] = []
    for file, splits in files.items():
        found, faults = _entries(file, splits)
        entries += found
        problems += faults
    entries, faults = with_text(entries)
    beside = next(iter(files)).parent
    return Description(
        data=data,
        tables=list(files),
        entries=entries,
        problems=[*problems, *faults],
        folder=beside.parent if beside.name == ANNOTATIONS else beside,
        places=PLACES,
    )


def _entries(file: Path, splits: tuple[str, ...]) -> tuple[list[SampleEntry], list[str]]:
    images, annotations = read_json_lists(file, "images", "annotations")
    captions: dict[str, list[str]] = {}
    problems = []
    for number, annotation in enumerate(annotations, 1):
        id, caption = as_text(annotation, "image_id"), as_text(annotation, "caption")
        if not id or caption is None:
            needed = "must be an object with image_id and caption"
            problems.append(f"{file.name} annotation {number}: {needed}")
        else:
            captions.setdefault(id, []).append(caption)
    unknown = captions.keys() - {as_text(image, "id") for image in images}
    entries = []
    for number, image in enumerate(images, 1):
        id, name = as_text(image, "id"), as_text(image, "file_name")
        place = f"{file.name} image {number}"
        if not id or not name:
            problems.append(f"{place}: must be an object with id and file_name")
        elif id not in captions:
            problems.append(f"{name}: image without a caption ({place})")
        else:
            texts = tuple(captions[id])
            entries.append(
                SampleEntry(id=id, image=name, captions=texts, place=place, splits=splits)
            )
    problems += [
        f"{file.name}: captions for image_id {id}, which it lacks" for id in sorted(unknown)
    ]
    return entries, problems
