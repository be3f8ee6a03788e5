"""Data source `folder`: images beside one file of captions.

The captions are in ``metadata.jsonl``, ``captions.csv`` or ``captions.txt`` (see
`workers.data.captions`), the images in the folder itself, in ``images/`` or ``Images/``, or
at the relative path that is written. ``data.split`` gives shares, or three files of image
names, one per line, relative to the folder; images in none of the three are not used.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from workers.data import captions
from workers.data.captions import CaptionRow
from workers.data.gather import SampleCandidate, gather
from workers.data.lists import list_files, read_names
from workers.data.locate import MISSING, Locator, folder_of, there
from workers.data.problems import DataError
from workers.data.sample import DataFiles, DataSet
from workers.recipe import Data, Split

SUFFIXES = frozenset(
    (".avif", ".bmp", ".gif", ".jp2", ".jpeg", ".jpg", ".png", ".ppm", ".tif", ".tiff", ".webp")
)
"""What counts as an image when files without a caption are looked for."""


def load(data: Data) -> DataSet:
    """Load the folder ``data.path``; a sample's id is its path relative to that folder.

    Raises `DataError` as `workers.data.gather.gather` does, and when the folder, its caption
    file or a split list is missing or ambiguous.
    """
    found = _read(data)
    candidates = [
        SampleCandidate(id=id, image=id, captions=tuple(texts), read=(found.folder / id).read_bytes)
        for id, texts in found.by_image.items()
        if texts
    ]
    return gather(data, candidates, found.problems, found.listed)


def files(data: Data) -> DataFiles:
    """List the files that `load` reads; raises `DataError` as it does before it opens an image."""
    found = _read(data)
    return DataFiles(
        tables=tuple(found.tables),
        images=tuple(found.folder / id for id in found.by_image),
        problems=tuple(found.problems),
    )


@dataclass(frozen=True, kw_only=True)
class _Folder:
    """A folder as its text files describe it."""

    folder: Path
    tables: list[Path]
    by_image: Mapping[str, list[str]]
    """Image id -> captions, none left when all are empty."""
    listed: Mapping[str, list[str]] | None
    """Image id -> the splits that list it; None where shares decide."""
    problems: list[str]


def _read(data: Data) -> _Folder:
    folder = folder_of(data.path)
    metadata = _metadata(folder)
    tables = [metadata]
    rows, problems = captions.read(metadata)
    locate = Locator(folder)
    by_image, faults = _by_image(rows, locate, metadata.name)
    bare = _without_caption(folder, by_image)
    problems += [*faults, *(f"{id}: image without a caption in {metadata.name}" for id in bare)]
    listed = None
    if data.split and data.split.named:
        reported = {row.image for row in rows if locate(row.image) is None}
        listed, faults = _lists(folder, data.split, locate, {*by_image, *bare}, reported)
        problems += faults
        tables += list_files(folder, data.split).values()
    return _Folder(
        folder=folder, tables=tables, by_image=by_image, listed=listed, problems=problems
    )


def _metadata(folder: Path) -> Path:
    found = [folder / name for name in captions.FORMATS if (folder / name).is_file()]
    if len(found) == 1:
        return found[0]
    expected = ", ".join(captions.FORMATS)
    if not found:
        raise DataError(f"data.path {folder} must hold one of {expected}; it holds none")
    names = " and ".join(path.name for path in found)
    raise DataError(f"data.path {folder} must hold only one of {expected}; it holds {names}")


def _by_image(
    rows: Iterable[CaptionRow], locate: Locator, metadata: str
) -> tuple[dict[str, list[str]], list[str]]:
    """Return image id -> captions (none left when all are empty), and the rows' faults."""
    by_image: dict[str, list[str]] = {}
    missing: dict[str, str] = {}
    empty = []
    for row in rows:
        id, place = locate(row.image), f"{metadata} line {row.line}"
        if id is None:
            missing.setdefault(row.image, f"{row.image}: {MISSING} ({place})")
            continue
        texts = by_image.setdefault(id, [])
        if row.caption:
            texts.append(row.caption)
        else:
            empty.append(f"{id}: empty caption ({place})")
    return by_image, [*missing.values(), *empty]


def _without_caption(folder: Path, mentioned: Iterable[str]) -> list[str]:
    """Return ids of images that no row mentions, in all folders where mentioned ones lie."""
    mentioned = set(mentioned)
    beside = {(folder / id).parent for id in mentioned}
    found = (
        path.relative_to(folder).as_posix()
        for place in {folder, *there(folder), *beside}
        for path in place.iterdir()
        if path.suffix.lower() in SUFFIXES and not path.name.startswith(".") and path.is_file()
    )
    return sorted(set(found) - mentioned)


def _lists(
    folder: Path, split: Split, locate: Locator, known: set[str], reported: set[str]
) -> tuple[dict[str, list[str]], list[str]]:
    """Return image id -> the splits that list it, and the names that are no image.

    Names in `reported` are known to be missing and are not listed a second time.
    """
    listed: dict[str, list[str]] = {}
    problems = []
    for name, file in list_files(folder, split).items():
        names, faults = read_names(file)
        problems += faults
        for number, image in names:
            id = locate(image)
            if id in known:
                listed.setdefault(id, []).append(name)
            elif image not in reported:
                problems.append(f"{image}: {MISSING} ({file.name} line {number})")
    return listed, problems
