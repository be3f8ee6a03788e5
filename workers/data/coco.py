"""Data source `coco`: captions in COCO's JSON form, ``captions_*.json``.

``data.path`` is one such file, divided by shares, or a folder: with shares of the only such
file in it or in its ``annotations/``, or with the files that ``data.split`` names
(``{train: captions_train2017.json, validation: 0.02, test: captions_val2017.json}``). The
images lie in ``data.images``, or beside in ``train2017/``, ``val2014/``, ``images/`` and so on.
"""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from workers.data.entries import Described, SampleEntry, load_entries, local_files, with_text
from workers.data.json_files import as_text, read_lists
from workers.data.lists import list_files
from workers.data.locate import IMAGE_FOLDERS, file_of, folder_of
from workers.data.sample import DataFiles, DataSet
from workers.recipe import Data

OPTIONS = ("images",)
ANNOTATIONS = "annotations"
_YEARS = tuple(f"{name}{year}" for year in (2017, 2014) for name in ("train", "val", "test"))
PLACES = (
    *IMAGE_FOLDERS,
    *_YEARS,
    *(f"{folder}/{year}" for folder in IMAGE_FOLDERS for year in _YEARS),
)


def load(data: Data) -> DataSet:
    """Load the files; a sample's id is COCO's number of the image, as text.

    Raises `DataError` as `workers.data.gather.gather` does, and when a file is missing or is
    not of COCO's form.
    """
    return load_entries(describe(data))


def files(data: Data) -> DataFiles:
    """List the files that `load` reads; raises `DataError` as it does before it opens an image."""
    return local_files(describe(data))


def describe(data: Data) -> Described:
    """Read the annotation files."""
    folder, tables = _tables(data)
    entries: list[SampleEntry] = []
    problems: list[str] = []
    for file, splits in tables.items():
        found, faults = _entries(file, splits)
        entries += found
        problems += faults
    entries, faults = with_text(entries)
    return Described(
        data=data,
        tables=list(tables),
        entries=entries,
        problems=[*problems, *faults],
        folder=folder,
        places=PLACES,
    )


def _tables(data: Data) -> tuple[Path, dict[Path, tuple[str, ...]]]:
    """Return the folder in which images are looked for, and file -> its splits."""
    files: dict[Path, tuple[str, ...]] = {}
    if data.split is None or not data.split.named:
        files[file_of(data.path, "captions*.json", f"{ANNOTATIONS}/captions*.json")] = ()
    else:
        folder = folder_of(data.path)
        inner = folder / ANNOTATIONS
        place = inner if inner.is_dir() else folder
        for name, file in list_files(place, data.split, "a file of captions").items():
            files[file] = (*files.get(file, ()), name)
    beside = next(iter(files)).parent
    return (beside.parent if beside.name == ANNOTATIONS else beside), files


def _entries(file: Path, splits: tuple[str, ...]) -> tuple[list[SampleEntry], list[str]]:
    images, annotations = read_lists(file, "images", "annotations")
    captions, problems = _captions(file, annotations)
    entries = []
    for number, image in enumerate(images, 1):
        id, name = as_text(image, "id"), as_text(image, "file_name")
        place = f"{file.name} image {number}"
        if not id or not name:
            problems.append(f"{place}: must be an object with id and file_name")
        elif id not in captions:
            problems.append(f"{name}: image without a caption ({place})")
        else:
            entries.append(
                SampleEntry(
                    id=id, image=name, captions=tuple(captions[id]), place=place, splits=splits
                )
            )
    unknown = captions.keys() - {as_text(image, "id") for image in images}
    problems += [
        f"{file.name}: captions for image_id {id}, which it lacks" for id in sorted(unknown)
    ]
    return entries, problems


def _captions(
    file: Path, annotations: Iterable[Mapping[str, Any]]
) -> tuple[dict[str, list[str]], list[str]]:
    """Return image id -> captions, and the bad annotations."""
    captions: dict[str, list[str]] = {}
    problems = []
    for number, annotation in enumerate(annotations, 1):
        id, caption = as_text(annotation, "image_id"), as_text(annotation, "caption")
        if not id or caption is None:
            problems.append(
                f"{file.name} annotation {number}: must be an object with image_id and caption"
            )
        else:
            captions.setdefault(id, []).append(caption)
    return captions, problems
