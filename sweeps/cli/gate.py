"""The command ``sweeps promote``."""

from typing import Annotated

import typer

from sweeps.cli.arguments import Results, console
from sweeps.names import RESULTS


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
        str | None, typer.Option(metavar="NAME", help="Who approves; kept with the promotion.")
    ] = None,
    allow_new_data: Annotated[
        bool,
        typer.Option(
            "--allow-new-data",
            help="Where the champion was judged by other images, metrics or base: score both anew.",
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
    from sweeps.promotion.limits import Wish
    from sweeps.promotion.promote import promote_named

    wish = Wish(
        to=to, margin=margin, dry_run=dry_run, approved_by=approve_by,
        allow_new_data=allow_new_data,
    )  # fmt: skip
    raise typer.Exit(promote_named(trial, results, wish, console()))
