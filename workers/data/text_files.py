"""Text files that people and spreadsheets write: lines, names, CSV records and JSON."""

import csv
import json
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

from workers.data.sample import DataError


def read_lines(path: Path) -> tuple[list[str], list[str]]:
    """Return the lines of a UTF-8 file, and a problem for each line that is not UTF-8.

    A byte order mark is dropped, and all of LF, CRLF and CR end a line. A line that is not
    UTF-8 is returned empty, so that line numbers stay true.

    Raises `DataError` when the file cannot be read or is not even 8-bit text (UTF-16).
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror}") from error
    if b"\0" in content:
        raise DataError(f"{path}: must be UTF-8 text, this looks like UTF-16; save it as UTF-8")
    lines, problems = [], []
    for number, line in enumerate(content.removeprefix(b"\xef\xbb\xbf").splitlines(), 1):
        try:
            lines.append(line.decode())
        except UnicodeDecodeError:
            lines.append("")
            problems.append(f"{path.name} line {number}: not UTF-8 text; save the file as UTF-8")
    return lines, problems


def read_names(path: Path) -> tuple[list[tuple[int, str]], list[str]]:
    """Return (line, image name) of each line that is not blank, and the bad lines."""
    lines, problems = read_lines(path)
    return [(at, line.strip()) for at, line in enumerate(lines, 1) if line.strip()], problems


def csv_records(lines: Sequence[str]) -> Iterator[tuple[int, list[str] | csv.Error]]:
    """Yield each record with the line where it starts; a quoted field may hold line breaks.

    A record with a broken quote gives its error, and reading continues in the next line, so
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
