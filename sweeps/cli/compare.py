"""``sweeps compare SWEEP``: the leaderboard, what mattered, and the links into MLflow."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from sweeps.board.handle import SweepHandle
from sweeps.board.leaderboard import Leaderboard
from sweeps.board.standings import add_standings
from sweeps.cli.outcome import print_leaderboard, print_links
from sweeps.study.study import importances


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """How the trials of a sweep compare."""

    earlier: SweepHandle
    leaderboard: Leaderboard
    importances: Mapping[str, float]
    """Field -> the share of the variation that it explains, the largest first."""


def comparison(sweep_id: str, results: Path) -> Comparison:
    """Compare the trials of a sweep, also while it runs.

    Raises FileNotFoundError for an unknown sweep.
    """
    earlier = SweepHandle.find(results, sweep_id)
    return Comparison(
        earlier=earlier,
        leaderboard=add_standings(earlier.run, earlier.board),
        importances=importances(earlier.sweep, earlier.folder),
    )


def show(sweep_id: str, results: Path, console: Console) -> None:
    """Print the `comparison` of a sweep's trials."""
    found = comparison(sweep_id, results)
    print_leaderboard(found.leaderboard, console)
    if found.importances:
        console.print("\nimportance, the share of the variation explained (fANOVA)", style="bold")
        for field, share in found.importances.items():
            console.print(f"  {field:<24} {share:6.1%}  {'█' * round(share * 40)}")
    sweep = found.earlier.sweep
    print_links(found.earlier.run, sweep, sweep.promote.model if sweep.promote else None, console)
