"""``sweeps compare SWEEP``: the leaderboard, what mattered, and the links into MLflow."""

from pathlib import Path

from rich.console import Console

from sweeps.board.earlier import EarlierSweep
from sweeps.board.standings import judged
from sweeps.cli.outcome import say_board, say_links
from sweeps.study.study import importances


def show(sweep_id: str, results: Path, console: Console) -> None:
    """Print the comparison of a sweep's trials, also while it runs.

    Raises FileNotFoundError for an unknown sweep.
    """
    earlier = EarlierSweep.find(results, sweep_id)
    sweep = earlier.sweep
    say_board(judged(earlier.run, earlier.board), console)
    shares = importances(sweep, earlier.folder)
    if shares:
        console.print("\nimportance, the share of the variation explained (fANOVA)", style="bold")
        for field, share in shares.items():
            console.print(f"  {field:<24} {share:6.1%}  {'█' * round(share * 40)}")
    say_links(earlier.run, sweep, sweep.promote.model if sweep.promote else None, console)
