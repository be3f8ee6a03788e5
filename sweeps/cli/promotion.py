"""Commands for the champion of a registered model: promote, history, rollback and reconcile."""

from typing import TYPE_CHECKING, Annotated

import typer

from sweeps.cli.arguments import Json, Results, console
from sweeps.names import RESULTS, command

if TYPE_CHECKING:
    from pathlib import Path

    from sweeps.promotion.ledger import Ledger

Model = Annotated[str, typer.Argument(metavar="NAME", help="A registered model.")]


def promote(
    trial: Annotated[
        str,
        typer.Argument(
            metavar="SWEEP[/TRIAL]",
            help="A sweep's winner, one of its trials, or the id of a trial's run in MLflow.",
        ),
    ],
    to: Annotated[str | None, typer.Option(help="Registered model; else the file's.")] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Judge only: register nothing, move nothing.")
    ] = False,
    approve_by: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="The person who approves; kept in the ledger."),
    ] = None,
    allow_new_data: Annotated[
        bool,
        typer.Option(
            "--allow-new-data",
            help="Where the champion was judged by other images, metrics or base: rescore both.",
        ),
    ] = False,
    margin: Annotated[
        float | None, typer.Option(help="The gain must be above it; else promote.margin.")
    ] = None,
    results: Results = RESULTS,
) -> None:
    """Judge a trial on the test images; if it beats the champion, make it the champion.

    Exit code 0: it is the champion. 3: the gate refused it. 1: it could not be judged.
    """
    from sweeps.promotion.adapters import challenger_of, find_trial
    from sweeps.promotion.gate import Policy
    from sweeps.promotion.promote import promote

    earlier, found = find_trial(trial, results)
    flags = {"allow_new_data": allow_new_data, "dry_run": dry_run}
    policy = Policy.of(earlier.sweep, to=to, margin=margin, approved_by=approve_by, **flags)
    challenger = challenger_of(earlier, found)
    raise typer.Exit(promote(challenger, policy, earlier.run.tracking, console()))


def history(name: Model, as_json: Json = False, results: Results = RESULTS) -> None:
    """Show who made which version of a model its champion, when, why and on what evidence."""
    import json
    from dataclasses import asdict

    from rich.table import Table
    from rich.text import Text

    ledger = _ledger(name, results, deleted=True)
    entries, alias = ledger.entries(), ledger.alias()
    if as_json:
        kept = [asdict(entry) for entry in entries]
        print(json.dumps({"model": name, "champion": alias, "entries": kept}, indent=1))
        return
    if not entries:
        by_alias = f"; its champion is version {alias} by the alias alone" if alias else ""
        console().print(f"{name} has no ledger yet{by_alias}", soft_wrap=True)
        return
    grid = Table(box=None, pad_edge=False, header_style="bold")
    for column in ("when (UTC)", "what", "from", "to", "by", "approved by"):
        grid.add_column(column, no_wrap=column == "when (UTC)")
    for column in ("why", "evidence"):
        grid.add_column(column, overflow="fold")
    for entry in reversed(entries):  # the newest first
        when = entry.at.replace("T", " ").removesuffix("+00:00")
        change = [when, entry.kind, entry.previous, entry.version, entry.by, entry.approved_by]
        cells = [Text(cell or "-") for cell in (*change, entry.why, entry.evidence)]
        grid.add_row(*cells, style="bold" if entry is entries[-1] else "")
    console().print(grid)
    if alias != entries[-1].version:
        shown = f"is version {alias}" if alias else "is not set"
        console().print(
            f"the alias champion {shown}, and not version {entries[-1].version}; "
            f"`{command('reconcile', name)}` sets it",
            soft_wrap=True,
        )


def rollback(
    name: Model,
    to: Annotated[
        str | None,
        typer.Option(metavar="VERSION", help="A version; else the last good one before."),
    ] = None,
    why: Annotated[str | None, typer.Option(help="The reason, for the history.")] = None,
    by: Annotated[str | None, typer.Option(help="Your name; else the user's name.")] = None,
    results: Results = RESULTS,
) -> None:
    """Make the version before the champion again."""
    from sweeps.promotion.rollback import roll_back

    entry, skipped = roll_back(_ledger(name, results), to=to, why=why, by=by)
    for version in skipped:
        console().print(f"version {version} was deleted and is skipped")
    console().print(
        f"version {entry.version} is the champion again, in place of version {entry.previous}: "
        f"models:/{name}@champion",
        soft_wrap=True,
    )


def reconcile(name: Model, results: Results = RESULTS) -> None:
    """Set the alias of a model's champion to the version of its history."""
    from sweeps.promotion.rollback import reconcile as repair

    console().print(repair(_ledger(name, results)), soft_wrap=True)


def _ledger(name: str, results: "Path", *, deleted: bool = False) -> "Ledger":
    """Return the ledger of a registered model; with `deleted` also one whose model is gone.

    Raises ValueError, naming the models there are.
    """
    from sweeps.promotion.adapters import known_models, model_store
    from sweeps.promotion.ledger import Ledger
    from sweeps.promotion.registry import get_or_none

    ledger = Ledger.open(model_store(results), name)
    client, has_entries = ledger.tracking.client(), bool(ledger.entries())
    if (deleted and has_entries) or get_or_none(client.get_registered_model, name) is not None:
        return ledger
    kept = (
        f"; its history is there (`{command('history', name)}`): it was deleted or renamed, "
        f"and the history goes along when the experiment {ledger.tracking.experiment!r} is "
        "renamed, too"
    )
    raise ValueError(
        f"no model {name} is registered in {ledger.tracking.address}; "
        f"{known_models(client, name)}{kept if has_entries else ''}"
    )
