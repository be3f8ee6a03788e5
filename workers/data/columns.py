"""Columns by the names that people write: one rule for tables, caption files and data sets."""

import unicodedata
from collections.abc import Sequence

from workers.data.sample import DataError


def find_column(columns: Sequence[str], wanted: str, where: object) -> str | None:
    """Return the column called `wanted`, or None.

    The name as it is written counts first; else upper and lower case, and blanks around it, make
    no difference. Raises `DataError`, naming `where`, for a name that more than one column has.
    """
    exact = [name for name in columns if name == wanted]
    found = exact or [name for name in columns if _plain(name) == _plain(wanted)]
    if len(found) > 1:
        raise DataError(
            f"{where} has {len(found)} columns that are called {wanted!r} "
            f"({', '.join(columns)}); rename all but one, or name another in data.columns"
        )
    return found[0] if found else None


def first_column(columns: Sequence[str], usual: Sequence[str], where: object) -> str | None:
    """Return the first of the `usual` columns that is there, as `find_column` does."""
    found = (find_column(columns, name, where) for name in usual)
    return next((name for name in found if name is not None), None)


def _plain(name: str) -> str:
    return unicodedata.normalize("NFC", name).strip().casefold()
