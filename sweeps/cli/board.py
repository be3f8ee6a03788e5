"""Commands that show sweeps: compare, report, and MLflow's own UI."""

import os
import socket
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

from sweeps.cli.arguments import Results, SweepId, console
from sweeps.names import RESULTS

if TYPE_CHECKING:
    from rich.console import Console

HOST = "127.0.0.1"
ALLOWED_HOSTS = "127.0.0.1,127.0.0.1:*,localhost,localhost:*"
"""Hosts of requests, also through a tunnel from another port: a foreign name is DNS rebinding.
MLflow by itself would take private addresses, too."""


def compare(
    one: Annotated[
        str, typer.Argument(metavar="A", help="A sweep such as quickstart-1: its leaderboard.")
    ],
    other: Annotated[
        str | None,
        typer.Argument(
            metavar="[B]",
            help="With A and B: their differences. Each is a trial (quickstart-1/trial-003), "
            "a sweep (its winner), or the id of an MLflow run.",
        ),
    ] = None,
    results: Results = RESULTS,
) -> None:
    """Show a sweep's leaderboard and what mattered, or the differences of two trials."""
    if other is None:
        print_sweep(one, results, console())
    else:
        from sweeps.board.paired_comparison import print_comparison

        print_comparison(one, other, results, console())


def print_sweep(sweep_id: str, results: Path, console: "Console") -> None:
    """Print leaderboard, fields that mattered and links; FileNotFoundError for unknown sweeps."""
    from sweeps.board.handle import SweepHandle
    from sweeps.board.standings import add_standings
    from sweeps.cli.outcome import print_leaderboard, print_links
    from sweeps.study.study import importances

    earlier = SweepHandle.find(results, sweep_id)
    sweep, run = earlier.sweep, earlier.run
    print_leaderboard(add_standings(run, earlier.board), console)
    shares = importances(sweep, earlier.folder)
    if shares:
        console.print("\nimportance, the share of the variation explained (fANOVA)", style="bold")
    for field, share in shares.items():
        console.print(f"  {field:<24} {share:6.1%}  {'█' * round(share * 40)}")
    print_links(run, sweep, sweep.promote.model if sweep.promote else None, console)


def report(
    sweep: SweepId,
    out: Annotated[
        Path | None, typer.Option(help="File to write; else SWEEP.html in this folder.")
    ] = None,
    results: Results = RESULTS,
) -> None:
    """Write a sweep as one HTML file: leaderboard, plots, captions, cost. Also while it runs."""
    write_report(sweep, out or Path(f"{sweep}.html"), results, console())


def write_report(sweep_id: str, out: Path, results: Path, console: "Console") -> None:
    """Write the report of a sweep to `out`; raises FileNotFoundError for an unknown sweep."""
    from sweeps.board.handle import SweepHandle
    from sweeps.board.standings import add_standings
    from sweeps.pages.facts import gather
    from sweeps.pages.report import html

    earlier = SweepHandle.find(results, sweep_id)
    board = add_standings(earlier.run, earlier.board)
    facts = gather(earlier.sweep, earlier.folder, earlier.run, board)
    text = html(facts, earlier.folder, earlier.run)
    out.write_text(text, encoding="utf-8")
    console.print(f"wrote {out} ({len(text.encode()) / 1e6:.1f} MB)", soft_wrap=True)


def ui(
    port: Annotated[int, typer.Option(min=1, max=65535, help="Port on this machine.")] = 5000,
    results: Results = RESULTS,
) -> NoReturn:
    """Serve MLflow's UI on the embedded store, to this machine alone; Ctrl-C ends it."""
    from sweeps.tracking.client import STORE, Tracking

    tracking = Tracking(uri=None, experiment="", root=results.absolute())
    if not (tracking.root / STORE).exists():
        raise FileNotFoundError(f"no sweep is tracked in {tracking.root}; `sweeps run` makes one")
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError as error:
            raise OSError(
                f"cannot serve on {HOST} port {port}: {error.strerror}; --port names another one"
            ) from None
    page = f"http://{HOST}:{port}/#/experiments?workflowType=machine_learning"
    print(f"MLflow's UI, for this machine alone: {page}", flush=True)
    environment = {
        "MLFLOW_SERVER_ALLOWED_HOSTS": ALLOWED_HOSTS,
        **os.environ,
        # Not on the command line, which all users of a machine may read.
        "MLFLOW_BACKEND_STORE_URI": tracking.address,
        "MLFLOW_REGISTRY_STORE_URI": tracking.address,
        "MLFLOW_DEFAULT_ARTIFACT_ROOT": str(tracking.artifacts),
        # Without it MLflow starts half a dozen idle processes of a job queue.
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "PYTHONSAFEPATH": "1",
    }
    server = [sys.executable, "-m", "mlflow", "server", "--host", HOST, "--port", str(port)]
    os.chdir("/")  # uvicorn imports from its folder, whatever Python's own options say
    # In the place of this process: signals reach MLflow, and nothing stays when it has ended.
    os.execve(sys.executable, [*server, "--workers", "1"], environment)
