"""Rollback: the champion before becomes the champion again."""

from collections.abc import Sequence
from dataclasses import dataclass

from sweeps import names
from sweeps.promotion.entries import Draft, Entry, LedgerError
from sweeps.promotion.files import check_files
from sweeps.promotion.ledger import Ledger
from sweeps.tracking.client import user


@dataclass(frozen=True, kw_only=True)
class RolledBack:
    """A rollback that was done."""

    entry: Entry
    skipped: tuple[str, ...]
    """Versions that were passed over because they were deleted, the newest first."""


def standing(entries: Sequence[Entry]) -> list[str]:
    """Return the versions that have not been rolled back, the champion last.

    A version that was rolled back stands again only when it is promoted again, or when a
    rollback names it.
    """
    stack: list[str] = []
    for entry in entries:
        if entry.kind == "rollback" and entry.version in stack:
            last = len(stack) - stack[::-1].index(entry.version)
            stack = [version for version in stack[:last] if version != entry.previous]
        else:
            stack.append(entry.version)
    return stack


def roll_back(
    ledger: Ledger, *, to: str | None = None, why: str | None = None, by: str | None = None
) -> RolledBack:
    """Make `to` the champion, else the last other version that has not been rolled back.

    Raises `LedgerError` when there is no such version, when its files are gone, and when the
    champion changes meanwhile: of two people who roll the same version back, one succeeds.
    """
    entries = ledger.entries()
    if not entries:
        raise LedgerError(f"{ledger.model} has no ledger: nothing was promoted that could go back")
    target, skipped = _named(ledger, entries, to) if to else _before(ledger, entries)
    check_files(ledger.tracking, ledger.model, target)
    draft = _draft(entries, target, why, by or user())

    def judge(head: Entry | None) -> Draft:
        if head != entries[-1]:
            raise LedgerError(_moved(ledger.model, head))
        return draft

    entry = ledger.move(judge)
    assert entry is not None  # the judge never declines
    return RolledBack(entry=entry, skipped=skipped)


def _before(ledger: Ledger, entries: Sequence[Entry]) -> tuple[str, tuple[str, ...]]:
    """Return the version to go back to, and the deleted ones that were passed over."""
    champion = entries[-1].version
    skipped: list[str] = []
    for version in reversed(standing(entries)):
        if version == champion:
            continue
        if ledger.has(version):
            return version, tuple(skipped)
        skipped.append(version)
    raise LedgerError(
        f"{ledger.model} has no version before {champion} to go back to"
        + "".join(f"; version {version} was deleted" for version in skipped)
        + f"; `{names.command('history', ledger.model)}` shows all, --to names one that was "
        "rolled back"
    )


def _named(ledger: Ledger, entries: Sequence[Entry], to: str) -> tuple[str, tuple[str, ...]]:
    """Check a version that was asked for by its number."""
    champions = list(dict.fromkeys(entry.version for entry in entries))
    if to not in champions:
        raise LedgerError(
            f"--to must be a version that was the champion of {ledger.model} "
            f"({', '.join(champions)}), got {to}; a new one becomes it by `sweeps promote`"
        )
    if to == entries[-1].version:
        raise LedgerError(f"{ledger.model} version {to} is the champion already")
    if not ledger.has(to):
        raise LedgerError(f"{ledger.model} version {to} was deleted from the registry")
    return to, ()


def _draft(entries: Sequence[Entry], target: str, why: str | None, by: str) -> Draft:
    """Write the rollback, with what is known of the version since it last became champion."""
    known = next(entry for entry in reversed(entries) if entry.version == target)
    return Draft(
        kind="rollback", version=target, by=by, why=why or "no reason given",
        evidence=known.evidence, run_id=known.run_id,
    )  # fmt: skip


def _moved(model: str, head: Entry | None) -> str:
    now = f"to version {head.version} by {head.by}" if head else "away"
    return (
        f"the champion of {model} moved {now} meanwhile, so nothing was rolled back; "
        f"look at `{names.command('history', model)}`"
    )
