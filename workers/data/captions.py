"""The files in which a folder's captions are written, each read into the same rows.

``metadata.jsonl``: one object per line, ``file_name`` and ``captions``, ``caption`` or ``text``
(the first of these that is there), a string or a list of strings.
``captions.csv``: columns ``image`` and ``caption``, several rows per image.
``captions.txt``: rows ``image,caption``, with or without that header, or Flickr8k's own
``name.jpg#0<TAB>caption``.
"""

import csv
import json
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from workers.data.problems import DataError
from workers.data.text import read_lines

IMAGE_KEYS = ("file_name", "image", "filename")
CAPTION_KEYS = ("captions", "caption", "text")
_TOKEN = re.compile(r"([^\t]+)#\d+\t(.*)")


@dataclass(frozen=True, kw_only=True)
class CaptionRow:
    """One caption of one image, as written; the caption may be empty."""

    image: str
    caption: str
    line: int
    """Counted from 1."""


Parsed = Iterator[CaptionRow | tuple[int, str]]
"""Rows, and for each row that cannot be read its line with what is wrong."""


def read(path: Path) -> tuple[list[CaptionRow], list[str]]:
    """Return the rows of a caption file whose name is in `FORMATS`, and its bad rows.

    Whitespace in captions, line breaks included, is reduced to single spaces.
    Raises `DataError` when the file as a whole cannot be understood.
    """
    return _read(path, FORMATS[path.name])


def read_tokens(path: Path) -> tuple[list[CaptionRow], list[str]]:
    """Return the rows of a file in Flickr8k's own form, and its bad rows, as `read` does."""
    return _read(path, _tokens)


def _read(
    path: Path, parse: Callable[[Sequence[str]], Parsed]
) -> tuple[list[CaptionRow], list[str]]:
    lines, problems = read_lines(path)
    rows = []
    for item in parse(lines):
        if not isinstance(item, CaptionRow):
            problems.append(f"{path.name} line {item[0]}: {item[1]}")
        elif not item.image:
            problems.append(f"{path.name} line {item.line}: caption without an image name")
        else:
            rows.append(item)
    return rows, problems


def as_list(value: Any) -> list[str] | None:
    """Return captions given as nothing, a string or a list of strings; None for all else."""
    captions = [value] if isinstance(value, str) or value is None else value
    if not isinstance(captions, list | tuple):
        return None
    if not all(isinstance(caption, str) or caption is None for caption in captions):
        return None
    return [" ".join((caption or "").split()) for caption in captions] or [""]


def _row(image: str, caption: str, line: int) -> CaptionRow:
    return CaptionRow(image=image.strip(), caption=" ".join(caption.split()), line=line)


def _jsonl(lines: Sequence[str]) -> Parsed:
    for number, line in enumerate(lines, 1):
        if line.strip():
            yield from _object(line, number)


def _object(line: str, number: int) -> Parsed:
    try:
        value = json.loads(line)
    except ValueError as error:
        yield number, f"not JSON: {error}"
        return
    found = _pair(value) if isinstance(value, dict) else None
    if found is None:
        yield number, "must be an object with file_name and caption, text or captions"
        return
    image, captions = found
    for caption in captions:
        yield _row(image, caption, number)


def _pair(value: dict[str, Any]) -> tuple[str, list[str]] | None:
    image = next((value[key] for key in IMAGE_KEYS if key in value), "")
    key = next((key for key in CAPTION_KEYS if key in value), None)
    captions = as_list(value[key]) if key else None
    return (image, captions) if isinstance(image, str) and captions else None


def _table(lines: Sequence[str]) -> Parsed:
    records = read_records(lines)
    header = next((fields for _, fields in records if fields), [])
    columns = _columns(header) if isinstance(header, list) else None
    if isinstance(header, csv.Error) or columns is None:
        raise DataError(f"captions.csv must begin with the header image,caption; got {header}")
    return _body(records, columns, len(header))


def _text(lines: Sequence[str]) -> Parsed:
    if any(_TOKEN.match(line) for line in lines):
        return _tokens(lines)
    first = next(iter(read_records(lines)), (0, []))[1]
    if isinstance(first, list) and _columns(first):
        return _table(lines)
    return _body(read_records(lines), (0, 1), 2)


def _tokens(lines: Sequence[str]) -> Parsed:
    for number, line in enumerate(lines, 1):
        if match := _TOKEN.fullmatch(line):
            yield _row(match[1], match[2], number)
        elif line.strip():
            yield number, "must be written as name.jpg#0<TAB>caption"


def _columns(header: list[str]) -> tuple[int, int] | None:
    """Return the places of the image and the caption in a table with this header."""
    names = [name.strip().lower() for name in header]
    image = next((names.index(key) for key in IMAGE_KEYS if key in names), None)
    caption = next((names.index(key) for key in CAPTION_KEYS if key in names), None)
    return None if image is None or caption is None else (image, caption)


def _body(
    records: Iterator[tuple[int, list[str] | csv.Error]], columns: tuple[int, int], width: int
) -> Parsed:
    image, caption = columns
    for number, fields in records:
        if isinstance(fields, csv.Error):
            yield number, f"unbalanced quotes: {fields}"
            continue
        if (image, caption, width) == (0, 1, 2) and len(fields) > 2:
            fields = [fields[0], ",".join(fields[1:])]  # commas in a caption without quotes
        if len(fields) == width:
            yield _row(fields[image], fields[caption], number)
        elif fields:
            yield number, f"must have {width} columns, has {len(fields)}"


def read_records(lines: Sequence[str]) -> Iterator[tuple[int, list[str] | csv.Error]]:
    """Yield each record with the line where it starts; a quoted field may hold line breaks.

    A record with a broken quote gives its error, and reading goes on in the next line, so
    that one stray quote does not swallow the rest of the file.
    """
    start = 0
    while start < len(lines):
        reader = csv.reader((f"{line}\n" for line in islice(lines, start, None)), strict=True)
        read_before = 0
        try:
            for fields in reader:
                yield start + read_before + 1, fields
                read_before = reader.line_num
            return
        except csv.Error as error:
            start += read_before + 1
            yield start, error


FORMATS: dict[str, Callable[[Sequence[str]], Parsed]] = {
    "metadata.jsonl": _jsonl,
    "captions.csv": _table,
    "captions.txt": _text,
}
"""Name of the file -> how its lines are read."""
