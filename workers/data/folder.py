"""Data source `folder`: images beside one file of captions.

The captions are in ``metadata.jsonl``, ``captions.csv`` or ``captions.txt`` (see
`workers.data.captions`), the images in the folder itself, in ``images/`` or ``Images/``, or
at the relative path that is written. ``data.split`` gives shares, or three files of image
names, one per line, relative to the folder; images in none of the three are not used.
"""

from pathlib import Path

from workers.data import captions
from workers.data.entries import Description, SampleEntry, merge_captions, with_text
from workers.data.locate import Locator, files_of_splits, folder_of, folders_in, read_lists
from workers.data.sample import DataError
from workers.recipe import Data, Split

SUFFIXES = frozenset(
    (".avif", ".bmp", ".gif", ".jp2", ".jpeg", ".jpg", ".png", ".ppm", ".tif", ".tiff", ".webp")
)
"""What counts as an image when files without a caption are looked for."""


def describe(data: Data) -> Description:
    """Describe the folder ``data.path``; a sample's id is its path relative to that folder.

    Raises `DataError` when the folder, its caption file or a split list is missing or ambiguous.
    """
    folder, split = folder_of(data.path), data.split or Split()
    metadata = _caption_file(folder)
    rows, problems = captions.read(metadata)
    locate = Locator(folder)
    entries: list[SampleEntry] = []
    missing: dict[str, str] = {}
    for row in rows:
        id, place = locate(row.image), f"{metadata.name} line {row.line}"
        if id is None:
            missing.setdefault(row.image, f"{row.image}: {locate.why_missing(row.image)} ({place})")
        else:
            entries.append(SampleEntry(id=id, image=id, captions=(row.caption,), place=place))
    images = {entry.image for entry in entries}
    known = images | _images_in(folder, images)
    entries, empty = with_text(entries)
    problems += [*missing.values(), *empty]
    problems += [
        f"{id}: image without a caption in {metadata.name}" for id in sorted(known - images)
    ]
    listed: dict[str, list[str]] = {}
    names, faults = read_lists(folder, split)
    problems += faults
    for name, image, place in names:
        id = locate(image)
        if id is not None and id in known:
            listed.setdefault(id, []).append(name)
        elif image not in missing:
            problems.append(f"{image}: {locate.why_missing(image)} ({place})")
    return Description(
        data=data,
        tables=[metadata, *files_of_splits(folder, split)],
        entries=merge_captions(entries),
        problems=problems,
        folder=folder,
        listed=listed if split.named else None,
    )


def _caption_file(folder: Path) -> Path:
    found = [folder / name for name in captions.FORMATS if (folder / name).is_file()]
    if len(found) == 1:
        return found[0]
    expected = ", ".join(captions.FORMATS)
    if not found:
        raise DataError(f"data.path {folder} must hold one of {expected}; it holds none")
    names = " and ".join(path.name for path in found)
    raise DataError(f"data.path {folder} must hold only one of {expected}; it holds {names}")


def _images_in(folder: Path, mentioned: set[str]) -> set[str]:
    """Return ids of all images in the usual folders and in those where mentioned ones lie."""
    beside = {(folder / id).parent for id in mentioned}
    return {
        path.relative_to(folder).as_posix()
        for place in {folder, *folders_in(folder), *beside}
        for path in place.iterdir()
        if path.suffix.lower() in SUFFIXES and not path.name.startswith(".") and path.is_file()
    }
