"""What is wrong with a part of a sweep file, in words: where, what it must be, what it is."""

import json
from collections.abc import Iterable
from dataclasses import dataclass, replace
from difflib import get_close_matches
from typing import Any


@dataclass(frozen=True)
class Flaw:
    """One thing that is wrong."""

    at: tuple[str, ...]
    """Keys from the checked part down to the flaw; a key may hold dots (``adapter.rank``)."""
    must: str
    """Says what is right, beginning with ``must``."""
    got: str = ""
    """What was there instead, whole, as it would be written in the file; empty leaves it out."""
    nearest: str | None = None
    """The valid name that was most likely meant."""

    def below(self, *keys: str) -> "Flaw":
        """Return the flaw as seen from `keys` further up."""
        return replace(self, at=(*keys, *self.at))

    def __str__(self) -> str:
        got = f", got {cut(self.got)}" if self.got else ""
        hint = f" (did you mean {self.nearest}?)" if self.nearest else ""
        return f"{'.'.join(self.at)}  {self.must}{got}{hint}".strip()


class SpaceError(ValueError):
    """A part of a search cannot be, such as a domain; `flaws` holds all that is wrong with it."""

    def __init__(self, flaws: Iterable[Flaw]) -> None:
        self.flaws = tuple(flaws)
        super().__init__("\n".join(map(str, self.flaws)))

    def __reduce__(self) -> tuple[type["SpaceError"], tuple[tuple[Flaw, ...]]]:
        return type(self), (self.flaws,)


def show(value: Any) -> str:
    """Return a value as it would be written in a sweep file."""
    return json.dumps(value, ensure_ascii=False, default=str)


def cut(text: str) -> str:
    """Return a text that is short enough for a message: up to 60 characters."""
    return text if len(text) <= 60 else f"{text[:59]}…"


def nearest(word: Any, names: Iterable[str]) -> str | None:
    """Return the name that is spelled most like `word`, or None when none is close.

    A word that resembles only the last part of a dotted name finds it too: ``rank`` finds
    ``adapter.rank``.
    """
    names, wanted = list(names), str(word).lower()
    for key in (str.lower, _last_part):
        by_key = {key(name): name for name in reversed(names)}
        close = get_close_matches(key(wanted), by_key, n=1, cutoff=0.65)
        if close and by_key[close[0]] != word:
            return by_key[close[0]]
    return None


def _last_part(name: str) -> str:
    return name.lower().rpartition(".")[2]
