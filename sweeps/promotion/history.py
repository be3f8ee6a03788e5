"""The history of a model's champion, as a table and as JSON."""

import json
from collections.abc import Sequence
from dataclasses import asdict

from rich.table import Table
from rich.text import Text

from sweeps import names
from sweeps.promotion.entries import Entry
from sweeps.promotion.registry import CHAMPION


def table(entries: Sequence[Entry]) -> Table:
    """Return the entries, the newest first."""
    grid = Table(box=None, pad_edge=False, header_style="bold")
    for column in ("when (UTC)", "what", "from", "to", "by", "approved by"):
        grid.add_column(column, no_wrap=column == "when (UTC)")
    for column in ("why", "evidence"):
        grid.add_column(column, overflow="fold")
    for number, entry in reversed(list(enumerate(entries, 1))):
        grid.add_row(*_row(entry), style="bold" if number == len(entries) else "")
    return grid


def as_json(model: str, entries: Sequence[Entry], alias: str | None) -> str:
    """Return the history as JSON, the oldest entry first, with the version the alias names."""
    kept = [asdict(entry) for entry in entries]
    return json.dumps({"model": model, CHAMPION: alias, "entries": kept}, indent=1)


def remark(model: str, entries: Sequence[Entry], alias: str | None) -> str | None:
    """Return a sentence when the alias is not where the ledger says; else None."""
    if not entries:
        by_alias = f"; its champion is version {alias} by the alias alone" if alias else ""
        return f"{model} has no ledger yet{by_alias}"
    if alias != entries[-1].version:
        shown = f"is version {alias}" if alias else "is not set"
        return (
            f"the alias {CHAMPION} {shown}, and not version {entries[-1].version}; "
            f"`{names.command('reconcile', model)}` sets it"
        )
    return None


def _row(entry: Entry) -> list[Text]:
    when = entry.at.replace("T", " ").removesuffix("+00:00")
    cells = [
        when, entry.kind, entry.previous, entry.version, entry.by, entry.approved_by, entry.why,
        entry.evidence,
    ]  # fmt: skip
    return [Text(cell or "-") for cell in cells]
