"""``sweeps compare``: the leaderboard, what mattered, and the links into MLflow."""

from pathlib import Path

from rich.console import Console
from rich.text import Text

from sweeps.earlier import EarlierSweep
from sweeps.leaderboard import guarded
from sweeps.outcome import say_links, table
from sweeps.study import importances


def show(sweep_id: str, results: Path, console: Console) -> None:
    """Print the comparison of a sweep's trials, also while it runs.

    Raises FileNotFoundError for an unknown sweep.
    """
    earlier = EarlierSweep.find(results, sweep_id)
    sweep = earlier.sweep
    console.print(table(earlier.board, console.width))
    for line in guarded(earlier.board):
        console.print(Text(line, style="red"), soft_wrap=True)
    shares = importances(sweep, earlier.folder)
    if shares:
        console.print("\nimportance, the share of the variation explained (fANOVA)", style="bold")
        for field, share in shares.items():
            console.print(f"  {field:<24} {share:6.1%}  {'█' * round(share * 40)}")
    say_links(earlier.run, sweep, sweep.promote.model if sweep.promote else None, console)
