"""Commands about what waits for MLflow."""

from typing import Annotated

import typer

from sweeps.cli.arguments import Results, console
from sweeps.names import RESULTS


def sync(
    sweep: Annotated[str | None, typer.Argument(help="A sweep; else all of them.")] = None,
    results: Results = RESULTS,
) -> None:
    """Send to MLflow what could not be sent while a sweep ran, and end what nobody runs."""
    from sweeps.cli.sync_sweeps import sync_sweeps

    raise typer.Exit(sync_sweeps(sweep, results, console()))
