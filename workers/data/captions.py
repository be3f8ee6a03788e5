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
from pathlib import Path
from typing import Any

from workers.data.columns import first_column
from workers.data.sample import DataError
from workers.data.text_files import csv_records, delimiter_of, quote_fault, read_lines

IMAGE_KEYS = ("file_name", "image", "filename")
CAPTION_KEYS = ("captions", "caption", "text")
_TOKEN = re.compile(r"([^\t]+)#\d+\t(.*)")


@dataclass(frozen=True, kw_only=True, slots=True)
class CaptionRow:
    """One caption of one image, as written; the caption may be empty."""

    image: str
    caption: str
    line: int
    """Counted from 1."""


Parsed = Iterator[CaptionRow | tuple[int, str]]
"""Rows, and for each row that cannot be read its line with what is wrong."""
Parser = Callable[[Sequence[str]], Parsed]


def read(path: Path, parse: Parser | None = None) -> tuple[list[CaptionRow], list[str]]:
    """Return the rows of a caption file, and its bad rows.

    `parse` None is for a file whose name is in `FORMATS`. Whitespace in captions, line breaks
    included, is reduced to single spaces. Raises `DataError` when the file as a whole cannot be
    understood.
    """
    lines, problems = read_lines(path)
    rows = []
    for item in (parse or FORMATS[path.name])(lines):
        if not isinstance(item, CaptionRow):
            problems.append(f"{path.name} line {item[0]}: {item[1]}")
        elif not item.image:
            problems.append(f"{path.name} line {item.line}: caption without an image name")
        else:
            rows.append(item)
    return rows, problems


def parse_tokens(lines: Sequence[str]) -> Parsed:
    """Yield the rows of a file in Flickr8k's own form."""
    for number, line in enumerate(lines, 1):
        if match := _TOKEN.fullmatch(line):
            yield _row(match[1], match[2], number)
        elif line.strip():
            yield number, "must be written as name.jpg#0<TAB>caption"


def as_list(value: Any) -> list[str] | None:
    """Return captions given as nothing, a string or a list of strings; None for all else."""
    captions = [value] if isinstance(value, str) or value is None else value
    listed = isinstance(captions, list | tuple)
    if not listed or not all(isinstance(caption, str | None) for caption in captions):
        return None
    return [" ".join((caption or "").split()) for caption in captions] or [""]


def _row(image: str, caption: str, line: int) -> CaptionRow:
    return CaptionRow(image=image.strip(), caption=" ".join(caption.split()), line=line)


def _parse_jsonl(lines: Sequence[str]) -> Parsed:
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            value = json.loads(line)
        except ValueError as error:
            yield number, f"not JSON: {error}"
            continue
        item = value if isinstance(value, dict) else {}
        image = next((item[key] for key in IMAGE_KEYS if key in item), "")
        captions = next((as_list(item[key]) for key in CAPTION_KEYS if key in item), None)
        if isinstance(image, str) and captions:
            yield from (_row(image, caption, number) for caption in captions)
        else:
            yield number, "must be an object with file_name and caption, text or captions"


def _parse_csv(lines: Sequence[str]) -> Parsed:
    delimiter = delimiter_of(next((line for line in lines if line.strip()), ""))
    records = csv_records(lines, delimiter)
    header = next((fields for _, fields in records if fields), [])
    columns = _columns(header)
    if isinstance(header, csv.Error) or columns is None:
        raise DataError(f"captions.csv must begin with the header image,caption; got {header}")
    return _body(records, columns, len(header), delimiter)


def _parse_text(lines: Sequence[str]) -> Parsed:
    if any(_TOKEN.match(line) for line in lines):
        return parse_tokens(lines)
    first = lines[0] if lines else ""
    if _columns(next(csv_records(lines, delimiter_of(first)), (0, []))[1]):
        return _parse_csv(lines)
    return _body(csv_records(lines), (0, 1), 2)


def _columns(header: list[str] | csv.Error) -> tuple[int, int] | None:
    """Return the places of the image and the caption in a table with this header."""
    names = [] if isinstance(header, csv.Error) else header
    image = first_column(names, IMAGE_KEYS, "the file of captions")
    caption = first_column(names, CAPTION_KEYS, "the file of captions")
    return None if image is None or caption is None else (names.index(image), names.index(caption))


def _body(
    records: Iterator[tuple[int, list[str] | csv.Error]],
    columns: tuple[int, int],
    width: int,
    delimiter: str = ",",
) -> Parsed:
    image, caption = columns
    for number, fields in records:
        if isinstance(fields, csv.Error):
            yield number, quote_fault(fields)
            continue
        if (image, caption, width) == (0, 1, 2) and len(fields) > 2:
            fields = [fields[0], delimiter.join(fields[1:])]  # in a caption without quotes
        if len(fields) == width:
            yield _row(fields[image], fields[caption], number)
        elif fields:
            yield number, f"must have {width} columns, has {len(fields)}"


FORMATS: dict[str, Parser] = {
    "metadata.jsonl": _parse_jsonl,
    "captions.csv": _parse_csv,
    "captions.txt": _parse_text,
}
"""Name of the file -> how its lines are read."""
