"""Commands that show the trials of a sweep: compare, report."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sweeps.cli.arguments import Results, SweepId, console
from sweeps.names import RESULTS

if TYPE_CHECKING:
    from rich.console import Console


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
