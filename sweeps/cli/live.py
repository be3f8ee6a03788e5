"""Commands for a sweep that runs, from another terminal or machine that sees its folder."""

from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer

from sweeps.cli.arguments import Overrides, Results, SweepId, console
from sweeps.cli.jobs import stop_job
from sweeps.names import RESULTS
from sweeps.spec.problems import refused

if TYPE_CHECKING:
    from pathlib import Path

    from sweeps.results.inbox import Kind

WAIT_SECONDS = 20.0
"""How long to wait for an answer; a driver that loads a base looks for requests later."""
BEST = "best"


def status(
    sweep: Annotated[str | None, typer.Argument(help="A sweep; else all of them.")] = None,
    results: Results = RESULTS,
) -> None:
    """Show the state of a sweep and the process that runs it."""
    from sweeps.cli.status import show

    show(sweep, results, console())


def stop(
    sweep: SweepId,
    trial: Annotated[str | None, typer.Argument(help="One trial of it; else all.")] = None,
    results: Results = RESULTS,
    address: Annotated[
        str | None, typer.Option(help="A cluster's dashboard: stop a job of `sweeps jobs`.")
    ] = None,
) -> None:
    """Stop a running sweep, which can be resumed; or let one trial end after its rung."""
    if address is not None:
        stop_job(sweep, trial, address)
    _request(sweep, results, "stop-trial" if trial else "stop", trial=trial)


def pause(sweep: SweepId, results: Results = RESULTS) -> None:
    """Let no further rung of a running sweep begin."""
    _request(sweep, results, "pause")


def unpause(sweep: SweepId, results: Results = RESULTS) -> None:
    """Let the rungs of a paused sweep begin again."""
    _request(sweep, results, "continue")


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
    from sweeps.driver.requests import point_of

    rung = None if snapshot is None else 0
    if snapshot not in (None, BEST):
        if not str(snapshot).isdecimal() or int(str(snapshot)) == 0:
            raise ValueError(f"--snapshot must be {BEST} or a rung from 1, got {snapshot!r}")
        rung = int(str(snapshot))
    _request(sweep, results, "add", trial=origin, point=point_of(overrides or ()), rung=rung)


def sync(
    sweep: Annotated[str | None, typer.Argument(help="A sweep; else all of them.")] = None,
    results: Results = RESULTS,
) -> None:
    """Send to MLflow all that could not be sent while a sweep ran; end runs without a driver."""
    from sweeps.cli.sync_sweeps import sync_sweeps

    raise typer.Exit(sync_sweeps(sweep, results, console()))


def _request(sweep_id: str, results: "Path", kind: "Kind", **fields: Any) -> NoReturn:
    """Send a request to the driver of a sweep, print its answer and exit.

    Raises ValueError for one that makes no sense, or for which there is no driver.
    """
    from sweeps.driver import requests
    from sweeps.results import inbox, lease
    from sweeps.results.folder import SweepFolder
    from sweeps.spec.load import load
    from sweeps.study.trials import trial_states

    folder = SweepFolder.find(results, sweep_id)
    request = inbox.Request(kind=kind, **fields)
    with refused(FileNotFoundError):
        sweep = load(folder.spec)
        requests.check(request, sweep, folder, trial_states(sweep, folder))
        driver = lease.living(folder)
        if driver is None and kind != "add":
            raise ValueError(
                f"{sweep_id} is not running, so there is nothing to {kind.split('-')[0]}; "
                f"go on with: sweeps resume {sweep_id}"
            )
        inbox.post(folder, request)
    if driver is None:
        console().print(f"kept for the next driver; begin with: sweeps resume {sweep_id}")
        raise typer.Exit
    answer = inbox.answered(folder, request, WAIT_SECONDS)
    text = f"sent to {driver}; it has not answered yet" if answer is None else answer.said
    console().print(text, soft_wrap=True)
    raise typer.Exit(0 if answer is None or answer.done else 1)
