"""Entries of a ledger: what each says, how it is written, and the chain that they form."""

import json
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Literal

from pydantic import TypeAdapter, ValidationError

LONGEST = 6000
"""Most characters of an entry as text; MLflow cuts longer parameters off without a word."""

Kind = Literal["adoption", "promotion", "rollback"]


class LedgerError(ValueError):
    """A ledger cannot be read, or cannot be written as asked."""


@dataclass(frozen=True, kw_only=True)
class Draft:
    """What is to be written: everything that the ledger does not know by itself."""

    kind: Kind
    version: str
    """The version of the model that becomes the champion."""
    by: str
    """Who does it."""
    why: str
    evidence: str | None = None
    """Where the evidence stands."""
    run_id: str | None = None
    """The run in which the version was trained."""
    approved_by: str | None = None


@dataclass(frozen=True, kw_only=True)
class Entry(Draft):
    """One change of the champion, as it stands in the ledger.

    An adoption names the version that was the champion before there was a ledger.
    """

    previous: str | None
    """The champion before; None when there was none."""
    at: str
    """When, in UTC, such as ``2026-03-01T14:05:12+00:00``."""
    id: str
    """Tells the entry from one of another process with the same content."""


_ENTRY = TypeAdapter(Entry)


def write(entry: Entry) -> str:
    """Return the entry as text."""
    return json.dumps(asdict(entry), ensure_ascii=False)


def reason_file(entry: Entry) -> str:
    """Return the artifact of the ledger's run that holds a reason too long for the entry."""
    return f"why/{entry.id}.txt"


def fitting(entry: Entry) -> Entry:
    """Return the entry with so much of its reason as fits, and a mark where it is cut.

    Raises `LedgerError` when it does not fit even without a reason.
    """
    if len(write(entry)) <= LONGEST:
        return entry
    mark = f" [...] (all of it: {reason_file(entry)})"

    def cut(kept: int) -> Entry:
        return replace(entry, why=entry.why[:kept] + mark)

    fits = bisect_right(range(len(entry.why)), LONGEST, key=lambda kept: len(write(cut(kept))))
    if not fits:
        raise LedgerError(
            f"an entry must have at most {LONGEST} characters, got {len(write(cut(0)))} without "
            "its reason: shorten who, evidence or approval"
        )
    return cut(fits - 1)


def chain(values: Mapping[int, str], ledger: str) -> tuple[Entry, ...]:
    """Return the entries by their numbers, from 1 on.

    Raises `LedgerError`, naming `ledger` and the entry, when one is missing, damaged or does not
    follow from the one before.
    """
    entries: list[Entry] = []
    for number in range(1, max(values, default=0) + 1):
        place = f"{ledger}: entry {number}"
        if number not in values:
            raise LedgerError(f"{place} is missing, although there are later ones")
        entries.append(_read(values[number], place))
        _check_link(entries, place)
    return tuple(entries)


def _read(text: str, place: str) -> Entry:
    try:
        return _ENTRY.validate_json(text)
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(map(str, first["loc"])) or "the entry"
        raise LedgerError(f"{place} is damaged: {field}: {first['msg']}") from None


def _check_link(entries: Sequence[Entry], place: str) -> None:
    before = entries[-2].version if len(entries) > 1 else None
    entry = entries[-1]
    if before is not None and entry.previous != before:
        raise LedgerError(
            f"{place} says that version {entry.previous} was the champion before, but entry "
            f"{len(entries) - 1} made it version {before}"
        )
