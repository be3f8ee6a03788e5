"""Commands about what waits for MLflow."""

from typing import Annotated

import typer

from sweeps.cli.arguments import Results, console
from sweeps.spec.files import RESULTS


def sync(
    sweep: Annotated[str | None, typer.Argument(help="A sweep; else all of them.")] = None,
    results: Results = RESULTS,
) -> None:
    """Send to MLflow what could not be sent while a sweep ran, and end what nobody runs."""
    from sweeps.tracking.sync import sync as send_waiting

    raise typer.Exit(send_waiting(sweep, results, console()))
