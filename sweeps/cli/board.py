"""``sweeps report SWEEP``: the sweep as one HTML file."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sweeps.cli.arguments import Results, SweepId, console
from sweeps.names import RESULTS

if TYPE_CHECKING:
    from rich.console import Console


def report(
    sweep: SweepId,
    out: Annotated[
        Path | None, typer.Option(help="File to write; else SWEEP.html in this folder.")
    ] = None,
    results: Results = RESULTS,
) -> None:
    """Write a sweep as one HTML file: leaderboard, plots, captions, cost. Also while it runs."""
    write(sweep, out or Path(f"{sweep}.html"), results, console())


def write(sweep_id: str, out: Path, results: Path, console: "Console") -> None:
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
