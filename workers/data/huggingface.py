"""Data source `huggingface`: all that ``datasets.load_dataset`` or ``load_from_disk`` can load.

``data.path`` is a name on the hub, a folder, a file (parquet and the like) or a folder written
by ``save_to_disk``. With shares in ``data.split`` all splits of the set are pooled and divided
anew; with names (``{train: train, validation: val, test: test}``) its own splits are used.
Rows with the same image (and the same question) are one sample with all their captions. A
split that is named for nothing but test may be without captions.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import datasets

from workers.data.captions import as_list
from workers.data.columns import find_column, first_column
from workers.data.contents import DECODED, Reading, in_threads, read_content
from workers.data.gather import SampleCandidate, gather
from workers.data.images import ImageError
from workers.data.links import is_link
from workers.data.sample import SPLITS, DataError, DataFiles, DataSet
from workers.data.text_files import read_json
from workers.recipe import Columns, Data

OPTIONS = ("revision", "columns")
SAVED, SAVED_SPLITS = "state.json", "dataset_dict.json"
"""Files by which a folder of ``save_to_disk`` is known: of one set, and of its splits."""
CARDS = ("README.md", "dataset_infos.json", ".huggingface.yaml")
"""Files by which `datasets` knows how a folder is divided."""
IMAGE_NAMES = ("image", "img")
"""Columns taken as the image where none, or more than one, has the type of an image."""
CAPTION_NAMES = ("captions", "caption", "sentences", "text")
"""The first of these columns that is there holds the captions."""
_SHOWN = 60  # characters of a text that is quoted
_NAME = 255
"""Characters of the longest name of a file."""
_BASE64 = re.compile(r"[A-Za-z0-9+/=\s]+")
_NUMBERED = re.compile(r"caption_?\d+")


def load(data: Data, reading: Reading = DECODED) -> DataSet:
    """Load the set ``data.path``; a sample's id is ``split/row`` of its first row, or that
    split with the value of ``data.columns.id``.

    Every row's image is read once to find rows with the same image, before ``data.limit``
    chooses images; a set on the hub is downloaded to the cache of `datasets` first.

    Raises `DataError` as `workers.data.gather.gather` does, and when the set cannot be loaded
    or has no column of images or of captions.
    """
    parts = _parts(data.path, data.revision)
    named: dict[str, list[str]] = {}
    for name in SPLITS:
        own = getattr(data.split, name, None)
        if isinstance(own, str):
            if own not in parts:
                raise DataError(f"data.split.{name} must be one of {', '.join(parts)}; got {own!r}")
            named.setdefault(own, []).append(name)
    problems: list[str] = []
    candidates: list[SampleCandidate] = []
    listed: dict[str, list[str]] = {}
    for owns in [[own] for own in named] or [list(parts)]:
        unlabelled = named.get(owns[0]) == ["test"]
        rows = [row for own in owns for row in _rows(own, parts[own], data.columns, unlabelled)]
        merged, faults = _merge(rows)
        candidates += merged
        problems += faults
        if named:
            listed |= {row.image: named[owns[0]] for row in rows}
    return gather(data, candidates, problems, listed if named else None, reading=reading)


def files(data: Data) -> DataFiles:
    """List the files of a set on this machine, as `datasets` finds them; none for one on the hub.

    Of images beside their metadata these are the ones that the metadata names. Raises `DataError`
    when the set cannot be loaded.
    """
    place = Path(data.path or "").expanduser()
    if data.path and not place.exists():
        return DataFiles()
    parts = _parts(data.path, data.revision)
    if _is_saved(place):
        return DataFiles(tables=tuple(_saved_files(place)))
    folder = place.parent if place.is_file() else place
    only = place.name if place.is_file() else None
    builder = datasets.load_dataset_builder(str(folder), data_files=only)
    found = {file for own in builder.config.data_files.values() for file in own}
    # In a folder of images these are the endings of images; tables have images inside.
    suffixes = getattr(builder, "EXTENSIONS", ()) if builder.name == "imagefolder" else ()
    images = {file for file in found if Path(file).suffix.lower() in suffixes}
    named = {path for part in parts.values() for path in _paths(part, data)} if images else set()
    cards = [folder / name for name in CARDS if only is None and (folder / name).is_file()]
    return DataFiles(
        tables=(*cards, *_below(folder, found - images)),
        images=tuple(_below(folder, images & named)),
    )


def _paths(part: Any, data: Data) -> Iterator[str | None]:
    """Yield where the image of each row lies, None for one that lies in the row."""
    column, _ = _columns(part.features, data.columns, unlabelled=True)
    images = part.with_format(None).select_columns([column])
    for row in images.cast_column(column, datasets.Image(decode=False)):
        yield (row[column] or {}).get("path")


def _below(folder: Path, found: Iterable[str]) -> list[Path]:
    """Return absolute paths as ones that begin with `folder`, as it was written."""
    base = folder.resolve()
    paths = (Path(file) for file in sorted(found))
    return [
        folder / file.relative_to(base) if file.is_relative_to(base) else file for file in paths
    ]


def _saved_files(folder: Path) -> list[Path]:
    splits = folder / SAVED_SPLITS
    if splits.is_file():
        names = read_json(splits)["splits"]
        return [splits, *(file for name in names for file in _saved_files(folder / name))]
    parts = [part["filename"] for part in read_json(folder / SAVED)["_data_files"]]
    return [folder / name for name in (SAVED, "dataset_info.json", *parts)]


def _is_saved(folder: Path) -> bool:
    return any((folder / marker).is_file() for marker in (SAVED_SPLITS, SAVED))


def _parts(path: str | None, revision: str | None) -> dict[str, Any]:
    """Return the set's own splits by name."""
    if not path:
        raise DataError(f"data.path must be a hub name, folder or file; got {path!r}")
    local = Path(path).expanduser()
    if revision and local.exists():
        raise DataError(f"data.revision is for sets on the hub; {path} is here, leave it out")
    try:
        if local.is_file():
            loaded: Any = datasets.load_dataset(str(local.parent), data_files=local.name)
        elif _is_saved(local):
            loaded = datasets.load_from_disk(str(local))
        else:
            source = str(local) if local.exists() else path
            loaded = datasets.load_dataset(source, revision=revision)
    except (OSError, ValueError, datasets.exceptions.DatasetsError) as error:
        at = f" at data.revision {revision}" if revision else ""
        hint = (
            ". It is no folder or file here; as a hub name it needs a connection, or a copy from "
            "save_to_disk"
        )
        raise DataError(
            f"data.path {path}{at} cannot be loaded as a data set: {error}"
            f"{'' if local.exists() else hint}"
        ) from error
    return dict(loaded) if isinstance(loaded, dict) else {"train": loaded}


def _columns(
    features: Mapping[str, Any], columns: Columns, unlabelled: bool
) -> tuple[str, tuple[str, ...]]:
    """Return the columns of the image and of the captions; with `unlabelled` of these maybe none.

    Captions are in the usual column, or ``caption_0`` and so on, or the only column of strings.
    Raises `DataError`, listing the columns found, when a column that is configured is not
    there or it is not clear which one is the image or the captions.
    """
    there = f"its columns are {', '.join(features)}"
    for field, name in columns.model_dump().items():
        if name is not None and name not in features and not (unlabelled and field == "caption"):
            raise DataError(
                f"data.columns.{field} must be a column of data.path; got {name!r}, {there}"
            )
    image = columns.image
    if image is None:
        typed = [name for name, kind in features.items() if isinstance(kind, datasets.Image)]
        usual = [
            found
            for name in IMAGE_NAMES
            if (found := find_column(typed or list(features), name, "data.path"))
        ]
        if len(typed) != 1 and not usual:
            problem = "more than one column of images" if typed else "no column of images"
            raise DataError(f"data.path has {problem}; {there}")
        image = typed[0] if len(typed) == 1 else usual[0]
    if columns.caption is not None:
        return image, (columns.caption,) if columns.caption in features else ()
    types = ("string", "large_string")
    strings = [name for name, kind in features.items() if getattr(kind, "dtype", "") in types]
    captions = (
        [usual for usual in (first_column(list(features), CAPTION_NAMES, "data.path"),) if usual]
        or [name for name in features if _NUMBERED.fullmatch(name)]
        or (strings if len(strings) == 1 and not unlabelled else [])
    )
    if not captions and not unlabelled:
        known = ", ".join(CAPTION_NAMES)
        raise DataError(
            f"data.path has no column that is known to hold captions, such as {known}; {there}"
        )
    return image, tuple(captions)


def _rows(own: str, part: Any, columns: Columns, unlabelled: bool) -> Iterator[SampleCandidate]:
    """Yield one candidate per row; an unusable caption is the empty string.

    With `unlabelled` the set may be without a column of captions.
    """
    image, captions = _columns(part.features, columns, unlabelled)
    images = part.with_format(None).select_columns([image])
    images = images.cast_column(image, datasets.Image(decode=False))
    texts = [name for name in (*captions, columns.question, columns.id) if name]
    for index, row in enumerate(_undecoded(part, list(dict.fromkeys(texts)))):
        id = f"{own}/{row[columns.id]}" if columns.id else f"{own}/{index:06d}"
        question = " ".join(str(row[columns.question] or "").split()) if columns.question else None
        yield SampleCandidate(
            id=id,
            image=id,
            captions=tuple(text for name in captions for text in _texts(row[name])),
            question=question,
            read=partial(_image_bytes, images, image, index),
        )


def _undecoded(part: Any, columns: list[str]) -> Iterator[dict[str, Any]]:
    """Yield the rows as they are stored: `datasets` would decode images in any format."""
    if not columns:
        yield from ({} for _ in range(len(part)))
        return
    for table in part.with_format("arrow").select_columns(columns).iter(1000):
        yield from table.to_pylist()


def _merge(rows: list[SampleCandidate]) -> tuple[list[SampleCandidate], list[str]]:
    """Return one candidate per distinct image and question, and the rows' problems."""
    merged: dict[tuple[str, str | None], SampleCandidate] = {}
    names: dict[str, str] = {}
    problems = []
    contents = in_threads(partial(read_content, decode=False), rows)
    for row, content in zip(rows, contents, strict=True):
        if isinstance(content, ImageError):
            problems.append(str(content))
            continue
        texts = tuple(text for text in row.captions if text)
        empty = len(row.captions) - len(texts)
        problems += [f"{row.id}: empty caption, or none that is text"] * empty
        if row.question == "":
            problems.append(f"{row.id}: empty question")
        if row.question == "" or (empty and not texts):
            continue
        image = names.setdefault(content.digest, row.id)
        # Images without captions are each to be answered, so their copies stay apart.
        key = (content.digest, row.question) if texts else (row.id, row.question)
        first = merged.get(key, replace(row, image=image, captions=()))
        merged[key] = replace(first, captions=(*first.captions, *texts))
    return list(merged.values()), problems


def _image_bytes(images: Any, column: str, index: int) -> bytes:
    value = images[index][column] or {}
    if value.get("bytes") is not None:
        return bytes(value["bytes"])
    if not value.get("path"):
        raise OSError("the row has no image")
    path = Path(value["path"])
    with suppress(OSError, ValueError):  # a text that is no path at all
        if path.is_file():  # and no device, which would never end
            return path.read_bytes()
    raise OSError(_no_image(str(value["path"])))


def _no_image(text: str) -> str:
    """Return what a text in the column of images is, where no file is there, and what to do."""
    shown = text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."
    if is_link(text):
        return f"the row has a link, {shown!r}; write the rows as a table for data.source: csv"
    if text.startswith("data:") or (len(text) > _NAME and _BASE64.fullmatch(text)):
        return (
            f"the row has text, {shown!r}, which seems to be an image in Base64; decode it, and "
            "give the column the type datasets.Image"
        )
    if Path(text).is_absolute():
        return f"no such file: {shown}"
    return (
        f"no such file: {shown!r}, looked for in the working folder; give the column the type "
        "datasets.Image and whole paths, or write the rows as a table for data.source: csv"
    )


def _texts(value: Any) -> list[str]:
    """Return the captions in a cell; COCO's sentences are objects with their text in ``raw``."""
    cells = value if isinstance(value, list) else [value]
    return as_list([cell.get("raw") if isinstance(cell, dict) else cell for cell in cells]) or [""]
