"""Commands for a sweep that runs, from another terminal or machine that sees its folder."""

from typing import TYPE_CHECKING, Annotated

import typer

from sweeps.cli import jobs as job_commands
from sweeps.cli.arguments import Overrides, Results, SweepId, console
from sweeps.names import RESULTS
from sweeps.spec.problems import refused

if TYPE_CHECKING:
    from pathlib import Path

    from sweeps.results.inbox import Kind


def status(
    sweep: Annotated[str | None, typer.Argument(help="A sweep; else all of them.")] = None,
    results: Results = RESULTS,
) -> None:
    """Show how a sweep stands and who runs it."""
    from sweeps.cli.status import show

    show(sweep, results, console())


def stop(
    sweep: SweepId,
    trial: Annotated[str | None, typer.Argument(help="One trial of it; else all.")] = None,
    results: Results = RESULTS,
    address: Annotated[
        str | None, typer.Option(help="Of a cluster's dashboard: stop a job of `sweeps jobs`.")
    ] = None,
) -> None:
    """Stop a running sweep, which can go on later; or let one trial end after its rung."""
    if address is not None:
        job_commands.stop(sweep, trial, address)
    _ask(sweep, results, "stop-trial" if trial else "stop", trial)


def pause(sweep: SweepId, results: Results = RESULTS) -> None:
    """Let no further rung of a running sweep begin."""
    _ask(sweep, results, "pause")


def unpause(sweep: SweepId, results: Results = RESULTS) -> None:
    """Let the rungs of a paused sweep begin again."""
    _ask(sweep, results, "continue")


def add(
    sweep: SweepId,
    overrides: Overrides = None,
    origin: Annotated[
        str | None, typer.Option("--from", metavar="TRIAL", help="Copy its point, then change it.")
    ] = None,
    snapshot: Annotated[
        str | None, typer.Option(help="Begin from its state at this rung, or from its `best`.")
    ] = None,
    results: Results = RESULTS,
) -> None:
    """Add a trial to a sweep: a point, or a copy of a trial with changes."""
    from sweeps.cli import asking
    from sweeps.results.folder import SweepFolder

    folder = SweepFolder.find(results, sweep)
    with refused(FileNotFoundError):
        code = asking.add(
            folder, console(), assignments=overrides or (), origin=origin, snapshot=snapshot
        )
    raise typer.Exit(code)


def _ask(sweep: str, results: "Path", kind: "Kind", trial: str | None = None) -> None:
    from sweeps.cli.asking import ask
    from sweeps.results.folder import SweepFolder

    folder = SweepFolder.find(results, sweep)
    with refused(FileNotFoundError):
        code = ask(folder, kind, console(), trial)
    raise typer.Exit(code)
