"""Annotation files: one JSON object that holds lists of objects."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from workers.data.problems import DataError


def read_json(path: Path) -> Any:
    """Return what the file holds; raises `DataError` when it cannot be read or is not JSON."""
    try:
        return json.loads(path.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path}: must be JSON: {error}") from error


def read_lists(path: Path, *keys: str) -> list[list[Mapping[str, Any]]]:
    """Return the lists under `keys`; an item of theirs that is no object is an empty one.

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
