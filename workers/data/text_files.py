"""Text files that people and spreadsheets write: lines, names, CSV records and JSON."""

import codecs
import csv
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from itertools import islice
from pathlib import Path
from typing import Any

from workers.data.sample import DataError

FIELD_CHARACTERS = 1 << 24
"""Longest field of a CSV record. Python's own limit, 131,072, is that of no spreadsheet."""
DELIMITERS = ",;\t|"
"""What separates the fields of a table, the first of these that makes columns of its header."""
_SHOWN = 40  # characters of a line that is quoted


def read_lines(path: Path) -> tuple[list[str], list[str]]:
    """Return the lines of a text file, and a problem for each line that is not UTF-8.

    UTF-16, which spreadsheets write as "Unicode text", is known by its byte order mark. All of LF,
    CRLF and CR end a line. A line that is not UTF-8 is returned empty, so that line numbers stay
    true.

    Raises `DataError` when the file cannot be read or is no text.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror}") from error
    if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        content = content.decode("utf-16", errors="replace").encode()
    if b"\0" in content:
        raise DataError(f"{path}: must be UTF-8 text, this has zero bytes; save it as UTF-8")
    lines, problems = [], []
    for number, line in enumerate(content.removeprefix(codecs.BOM_UTF8).splitlines(), 1):
        try:
            lines.append(line.decode())
        except UnicodeDecodeError:
            lines.append("")
            read = line.decode("cp1252", errors="replace").strip()
            shown = read if len(read) <= _SHOWN else f"{read[:_SHOWN]}..."
            problems.append(
                f"{path.name} line {number}: not UTF-8 text; in Windows-1252, as spreadsheets "
                f"write it, it reads {shown!r}; save the file as UTF-8"
            )
    return lines, problems


def read_names(path: Path) -> tuple[list[tuple[int, str]], list[str]]:
    """Return (line, image name) of each line that is not blank, and the bad lines."""
    lines, problems = read_lines(path)
    return [(at, line.strip()) for at, line in enumerate(lines, 1) if line.strip()], problems


def delimiter_of(header: str) -> str:
    """Return what separates the fields of a table with this header."""
    for delimiter in DELIMITERS:
        with suppress(csv.Error, StopIteration):
            if len(next(csv.reader([header], delimiter=delimiter, strict=True))) > 1:
                return delimiter
    return ","


def csv_records(
    lines: Sequence[str], delimiter: str = ","
) -> Iterator[tuple[int, list[str] | csv.Error]]:
    """Yield each record with the line where it starts; a quoted field may hold line breaks.

    A record with a broken quote gives its error, and reading continues in the next line, so
    that one stray quote does not swallow the rest of the file.
    """
    csv.field_size_limit(FIELD_CHARACTERS)
    start = 0
    while start < len(lines):
        rest = (f"{line}\n" for line in islice(lines, start, None))
        reader = csv.reader(rest, delimiter=delimiter, strict=True)
        read_before = 0
        try:
            for fields in reader:
                yield start + read_before + 1, fields
                read_before = reader.line_num
            return
        except csv.Error as error:
            start += read_before + 1
            yield start, error


def quote_fault(error: csv.Error) -> str:
    """Return what is wrong with a record that `csv_records` cannot read."""
    if "field limit" in str(error):
        return f"a field of over {FIELD_CHARACTERS:,} characters; is there a quote never closed?"
    return f"unbalanced quotes: {error}"


def read_json(path: Path) -> Any:
    """Return the content of a JSON file; raises `DataError` when it cannot be read as such."""
    try:
        return json.loads(path.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path}: must be JSON: {error}") from error


def read_json_lists(path: Path, *keys: str) -> list[list[Mapping[str, Any]]]:
    """Return the lists under `keys`; an item that is no object is replaced by an empty one.

    Raises `DataError` when the file cannot be read or lacks one of the lists.
    """
    value = read_json(path)
    found = value if isinstance(value, dict) else {}
    for key in keys:
        if not isinstance(found.get(key), list):
            raise DataError(
                f"{path}: must be an object with lists {' and '.join(keys)}; "
                f"it has {', '.join(found) or type(value).__name__}"
            )
    return [[item if isinstance(item, dict) else {} for item in found[key]] for key in keys]


def as_text(item: Any, key: str) -> str | None:
    """Return the text or whole number under `key` as text, or None for all else."""
    value = item.get(key) if isinstance(item, dict) else None
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    return value if isinstance(value, str) else None
