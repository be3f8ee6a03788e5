"""Data source `huggingface`: whatever ``datasets.load_dataset`` or ``save_to_disk`` knows.

``data.path`` is a name on the hub, a folder, a file (parquet and the like) or a folder written
by ``save_to_disk``. With shares in ``data.split`` all splits of the set are pooled and divided
anew; with names (``{train: train, validation: val, test: test}``) its own splits are used.
Rows with the same image are one image with all their captions.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import Any

import datasets

from workers.data.captions import as_list
from workers.data.gather import Candidate, gather, in_threads
from workers.data.images import ImageError
from workers.data.problems import DataError
from workers.data.sample import SPLITS, DataSet
from workers.recipe import Data, Split

IMAGE_NAMES = ("image", "img")
"""Columns taken as the image where none, or more than one, has the type of an image."""
CAPTION_NAMES = ("captions", "caption", "sentences", "text")
"""The first of these columns that is there holds the captions."""
_NUMBERED = re.compile(r"caption_?\d+")


def load(data: Data) -> DataSet:
    """Load the set ``data.path``; a sample's id is ``split/row`` of its first row.

    Every row's image is read once to find rows with the same image, before ``data.limit``
    draws images; a set on the hub is downloaded to the cache of `datasets` first.

    Raises `DataError` as `workers.data.gather.gather` does, and when the set cannot be loaded
    or has no column of images or of captions.
    """
    parts = _parts(data.path)
    named = _named(data.split, parts)
    problems: list[str] = []
    candidates: list[Candidate] = []
    for rows in _pools(parts, named):
        merged, faults = _merge(rows)
        candidates += merged
        problems += faults
    listed = (
        None
        if named is None
        else {each.id: named[each.id.rpartition("/")[0]] for each in candidates}
    )
    return gather(data, candidates, problems, listed)


def _parts(path: str | None) -> dict[str, Any]:
    """Return the set's own splits by name."""
    if not path:
        raise DataError(f"data.path must be a hub name, folder or file; got {path!r}")
    try:
        loaded = _load(path)
    except (OSError, ValueError, datasets.exceptions.DatasetsError) as error:
        raise DataError(f"data.path {path} cannot be loaded as a data set: {error}") from error
    return dict(loaded) if isinstance(loaded, dict) else {"train": loaded}


def _load(path: str) -> Any:
    local = Path(path).expanduser()
    if local.is_file():
        return datasets.load_dataset(str(local.parent), data_files=local.name)
    if any((local / marker).is_file() for marker in ("dataset_dict.json", "state.json")):
        return datasets.load_from_disk(str(local))
    return datasets.load_dataset(str(local) if local.exists() else path)


def _named(split: Split, parts: Iterable[str]) -> dict[str, list[str]] | None:
    """Return own split -> the splits it is named for, or None when `split` holds shares."""
    named: dict[str, list[str]] = {}
    for name in SPLITS:
        own = getattr(split, name)
        if not isinstance(own, str):
            return None
        if own not in parts:
            raise DataError(f"data.split.{name} must be one of {', '.join(parts)}; got {own!r}")
        named.setdefault(own, []).append(name)
    return named


def _pools(
    parts: Mapping[str, Any], named: Mapping[str, list[str]] | None
) -> Iterator[list[Candidate]]:
    """Yield the rows among which equal images are one: each named split, or all together."""
    rows = {own: _rows(own, part) for own, part in parts.items() if named is None or own in named}
    if named is None:
        yield [row for part in rows.values() for row in part]
    else:
        yield from rows.values()


def _rows(own: str, part: Any) -> list[Candidate]:
    """Return one candidate per row; an unusable caption is the empty string."""
    image, captions = _image_column(part.features), _caption_columns(part.features)
    images = part.with_format(None).select_columns([image])
    images = images.cast_column(image, datasets.Image(decode=False))
    texts = part.with_format(None).select_columns(captions)
    return [
        Candidate(
            id=f"{own}/{index:06d}",
            captions=tuple(text for name in captions for text in _texts(row[name])),
            read=partial(_image_bytes, images, image, index),
        )
        for index, row in enumerate(texts)
    ]


def _merge(rows: Iterable[Candidate]) -> tuple[list[Candidate], list[str]]:
    """Return one candidate per distinct image that has a caption, and the rows' faults."""
    merged: dict[str, Candidate] = {}
    problems = []
    rows = list(rows)
    for row, content in zip(rows, in_threads(_content, rows), strict=True):
        if isinstance(content, ImageError):
            problems.append(str(content))
            continue
        problems += [
            f"{row.id}: empty caption, or none that is text" for text in row.captions if not text
        ]
        texts = [text for text in row.captions if text]
        if texts:
            first = merged.get(content, replace(row, captions=()))
            merged[content] = replace(first, captions=(*first.captions, *texts))
    return list(merged.values()), problems


def _content(row: Candidate) -> str | ImageError:
    try:
        return sha256(row.encoded()).hexdigest()
    except ImageError as error:
        return error


def _image_bytes(images: Any, column: str, index: int) -> bytes:
    value = images[index][column] or {}
    if value.get("bytes") is not None:
        return bytes(value["bytes"])
    if value.get("path"):
        return Path(value["path"]).read_bytes()
    raise OSError("the row has no image")


def _image_column(features: Mapping[str, Any]) -> str:
    typed = [name for name, kind in features.items() if isinstance(kind, datasets.Image)]
    usual = [name for name in IMAGE_NAMES if name in (typed or features)]
    if len(typed) == 1 or usual:
        return typed[0] if len(typed) == 1 else usual[0]
    what = "more than one column of images" if typed else "no column of images"
    raise DataError(f"data.path has {what}; its columns are {', '.join(features)}")


def _caption_columns(features: Mapping[str, Any]) -> list[str]:
    """Return the usual column, or ``caption_0`` and so on, or the only column of strings."""
    usual = [name for name in CAPTION_NAMES if name in features][:1]
    numbered = [name for name in features if _NUMBERED.fullmatch(name)]
    strings = [
        name
        for name, kind in features.items()
        if getattr(kind, "dtype", "") in ("string", "large_string")
    ]
    found = usual or numbered or (strings if len(strings) == 1 else [])
    if not found:
        raise DataError(
            "data.path has no column that is known to hold captions, such as "
            f"{', '.join(CAPTION_NAMES)}; its columns are {', '.join(features)}"
        )
    return found


def _texts(value: Any) -> list[str]:
    """Return the captions in a cell; COCO's sentences are objects with their text in ``raw``."""
    cells = value if isinstance(value, list) else [value]
    return as_list([cell.get("raw") if isinstance(cell, dict) else cell for cell in cells]) or [""]
