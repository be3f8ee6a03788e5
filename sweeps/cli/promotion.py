"""Commands for the champion of a registered model: its history, and the way back."""

from typing import TYPE_CHECKING, Annotated

import typer

from sweeps.cli.arguments import Results, console
from sweeps.names import RESULTS, command

if TYPE_CHECKING:
    from pathlib import Path

    from sweeps.promotion.ledger import Ledger

Model = Annotated[str, typer.Argument(metavar="NAME", help="A registered model.")]


def history(
    name: Model,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON and nothing else.")] = False,
    results: Results = RESULTS,
) -> None:
    """Show who made which version of a model its champion, when, why and on what evidence."""
    from sweeps.promotion import history as shown

    ledger = _ledger(name, results)
    entries, alias = ledger.entries(), ledger.alias()
    if not entries:
        _check_registered(ledger)
    if as_json:
        print(shown.as_json(name, entries, alias))
        return
    if entries:
        console().print(shown.table(entries))
    remark = shown.remark(name, entries, alias)
    if remark:
        console().print(remark, soft_wrap=True)


def rollback(
    name: Model,
    to: Annotated[
        str | None, typer.Option(metavar="VERSION", help="Else the last good one before.")
    ] = None,
    why: Annotated[str | None, typer.Option(help="The reason, for the history.")] = None,
    by: Annotated[str | None, typer.Option(help="Who does it; else the user's name.")] = None,
    results: Results = RESULTS,
) -> None:
    """Make the version before the champion again."""
    from sweeps.promotion.rollback import roll_back

    ledger = _ledger(name, results)
    _check_registered(ledger)
    done = roll_back(ledger, to=to, why=why, by=by)
    for version in done.skipped:
        console().print(f"version {version} was deleted and is passed over")
    console().print(
        f"version {done.entry.version} is the champion again, in place of version "
        f"{done.entry.previous}: models:/{name}@champion",
        soft_wrap=True,
    )


def reconcile(name: Model, results: Results = RESULTS) -> None:
    """Set the alias of a model's champion to what its history says."""
    from sweeps.promotion.reconcile import reconcile as repair

    ledger = _ledger(name, results)
    _check_registered(ledger)
    console().print(repair(ledger), soft_wrap=True)


def _ledger(name: str, results: "Path") -> "Ledger":
    from sweeps.promotion.adapters import model_store
    from sweeps.promotion.ledger import Ledger

    return Ledger.open(model_store(results), name)


def _check_registered(ledger: "Ledger") -> None:
    """Raise ValueError, naming the models there are, for one that is not registered."""
    from mlflow.exceptions import MlflowException

    from sweeps.promotion.adapters import known_models

    client = ledger.tracking.client()
    try:
        client.get_registered_model(ledger.model)
    except MlflowException as error:
        if error.error_code not in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
            raise
        kept = f"; {_left_behind(ledger)}" if ledger.entries() else ""
        raise ValueError(
            f"no model {ledger.model} is registered in {ledger.tracking.address}; "
            f"{known_models(client, ledger.model)}{kept}"
        ) from None


def _left_behind(ledger: "Ledger") -> str:
    history, experiment = command("history", ledger.model), ledger.tracking.experiment
    return (
        f"its history is there (`{history}`): it was deleted or renamed, and the history goes "
        f"along when the experiment {experiment!r} is renamed, too"
    )
