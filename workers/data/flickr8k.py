"""Data source `flickr8k`: Flickr8k as its authors publish it.

``data.path`` is a folder that holds, itself or in ``Flickr8k_text/``, the captions
``Flickr8k.token.txt`` and the lists ``Flickr_8k.trainImages.txt``, ``devImages`` and
``testImages``; the images lie in ``Flicker8k_Dataset/`` (so spelled in the archive),
``Flickr8k_Dataset/``, ``Images/`` or the folder itself. The official lists decide who is in
which split unless ``data.split`` gives shares or other lists; images in no list are not used.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

from workers.data.captions import CaptionRow, read_tokens
from workers.data.entries import Described, SampleEntry, load_entries, local_files, with_text
from workers.data.lists import list_files, read_names
from workers.data.locate import IMAGE_FOLDERS, folder_of
from workers.data.problems import DataError
from workers.data.sample import DataFiles, DataSet
from workers.recipe import Data, Split

OPTIONS = ("images",)
TOKENS = "Flickr8k.token.txt"
OFFICIAL = Split(
    train="Flickr_8k.trainImages.txt",
    validation="Flickr_8k.devImages.txt",
    test="Flickr_8k.testImages.txt",
)
PLACES = (
    "Flicker8k_Dataset",
    "Flickr8k_Dataset",
    "Flickr8k_Dataset/Flicker8k_Dataset",
    *IMAGE_FOLDERS,
)


def load(data: Data) -> DataSet:
    """Load Flickr8k; a sample's id is the name of its image, such as ``1000268201_693.jpg``.

    Raises `DataError` as `workers.data.gather.gather` does, and when the folder, its captions
    or a list is missing.
    """
    return load_entries(describe(data))


def files(data: Data) -> DataFiles:
    """List the files that `load` reads; raises `DataError` as it does before it opens an image."""
    return local_files(describe(data))


def describe(data: Data) -> Described:
    """Read the captions and the lists."""
    folder, split = folder_of(data.path), data.split or OFFICIAL
    entries, problems = read(folder, split)
    entries, faults = with_text(entries)
    text = _text_folder(folder)
    return Described(
        data=data,
        tables=[text / TOKENS, *list_files(text, split).values()],
        entries=entries,
        problems=[*problems, *faults],
        folder=folder,
        places=PLACES,
    )


def read(folder: Path, split: Split) -> tuple[list[SampleEntry], list[str]]:
    """Return the captions and splits that the text files describe, and the bad lines.

    Raises `DataError` when one of the files is missing.
    """
    text = _text_folder(folder)
    rows, problems = read_tokens(text / TOKENS)
    by_image: dict[str, list[CaptionRow]] = {}
    for row in rows:
        by_image.setdefault(row.image, []).append(row)
    if not split.named:
        return [_entry(image, found) for image, found in by_image.items()], problems
    listed, faults = _listed(text, split, by_image)
    # The published captions name an image that does not exist; no list does.
    entries = [_entry(image, by_image[image], splits) for image, splits in listed.items()]
    return entries, [*problems, *faults]


def _text_folder(folder: Path) -> Path:
    for place in (folder, folder / "Flickr8k_text"):
        if (place / TOKENS).is_file():
            return place
    raise DataError(
        f"data.path {folder} must hold {TOKENS}, itself or in Flickr8k_text/; it holds none. "
        "For Flickr8k with captions.txt and no lists use data.source: folder"
    )


def _listed(
    text: Path, split: Split, by_image: Mapping[str, Sequence[CaptionRow]]
) -> tuple[dict[str, list[str]], list[str]]:
    """Return image -> the splits that list it, and the listed images that have no caption."""
    listed: dict[str, list[str]] = {}
    problems = []
    for name, file in list_files(text, split).items():
        names, faults = read_names(file)
        problems += faults
        for line, image in names:
            if image in by_image:
                listed.setdefault(image, []).append(name)
            else:
                problems.append(f"{image}: no caption in {TOKENS} ({file.name} line {line})")
    return listed, problems


def _entry(image: str, rows: Sequence[CaptionRow], splits: Sequence[str] = ()) -> SampleEntry:
    return SampleEntry(
        id=image,
        image=image,
        captions=tuple(row.caption for row in rows),
        place=f"{TOKENS} line {rows[0].line}",
        splits=tuple(splits),
    )
