"""The one type for what is wrong with a sweep file, a point, a machine or a finished sweep."""

import json
from collections.abc import Iterable
from dataclasses import dataclass, replace
from difflib import get_close_matches
from typing import Any, Literal

Keys = tuple[str, ...]
"""Way from a whole down to one of its parts; a key may hold dots (``adapter.rank``)."""


@dataclass(frozen=True)
class Location:
    """The place in a text that an issue is about."""

    source: str
    """Name of a file, or of an option such as ``--set``."""
    line: int | None = None
    """From 1; None for options and for what is missing altogether."""

    def __str__(self) -> str:
        return self.source if self.line is None else f"{self.source}:{self.line}"


@dataclass(frozen=True)
class Issue:
    """One fault."""

    keys: Keys
    """From the checked part down to the issue; of a machine or a sweep, the name of its part."""
    message: str
    """The requirement, beginning with ``must``, or the fault."""
    actual: str = ""
    """The value there, whole, as it would be written in the file; empty leaves it out."""
    nearest: str | None = None
    """The valid name that was most likely meant."""
    fix: str = ""
    """The remedy; empty where the message has it."""
    location: Location | None = None
    severity: Literal["error", "warning"] = "error"
    """A warning stops nothing."""

    @property
    def path(self) -> str:
        """Dotted path such as ``train.learning_rate``; empty for the checked part as a whole."""
        return ".".join(self.keys)

    @property
    def text(self) -> str:
        """All of it but path and location, as one line."""
        shown = self.actual if len(self.actual) <= 60 else f"{self.actual[:59]}…"
        actual = f", got {shown}" if self.actual else ""
        nearest = f" (did you mean {self.nearest}?)" if self.nearest else ""
        fix = f" -> {self.fix}" if self.fix else ""
        return f"{self.message}{actual}{nearest}{fix}"

    def below(self, *keys: str) -> "Issue":
        """Return the issue as seen from `keys` further up."""
        return replace(self, keys=(*keys, *self.keys))

    def __str__(self) -> str:
        place = str(self.location) if self.location else ""
        return "  ".join(part for part in (place, self.path, self.text) if part)


class SpaceError(ValueError):
    """A part of a search is invalid, such as a domain; `issues` holds all that is wrong with it."""

    def __init__(self, *issues: Issue) -> None:
        super().__init__(*issues)
        self.issues = issues

    def __str__(self) -> str:
        return "\n".join(map(str, self.issues))


def raise_any(issues: Iterable[Issue]) -> None:
    """Raise `SpaceError` if there are issues."""
    found = tuple(issues)
    if found:
        raise SpaceError(*found)


def show(value: Any) -> str:
    """Return a value as it would be written in a sweep file."""
    return json.dumps(value, ensure_ascii=False, default=str)


def nearest(word: Any, names: Iterable[str]) -> str | None:
    """Return the name that is spelled most like `word`, or None when none is close.

    A word that resembles only the last part of a dotted name finds it too: ``rank`` finds
    ``adapter.rank``.
    """
    names, wanted = list(names), str(word).lower()
    for key in (str.lower, lambda name: name.lower().rpartition(".")[2]):
        by_key = {key(name): name for name in reversed(names)}
        close = get_close_matches(key(wanted), by_key, n=1, cutoff=0.65)
        if close and by_key[close[0]] != word:
            return by_key[close[0]]
    return None
