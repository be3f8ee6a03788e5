"""``sweeps compare``: the leaderboard, what mattered, and the links into MLflow."""

from pathlib import Path

from rich.console import Console

from sweeps import leaderboard
from sweeps.outcome import say_links, table
from sweeps.paths import SweepFolder
from sweeps.spec import load
from sweeps.study import importances
from sweeps.sweep_run import SweepRun
from sweeps.tracking import Tracking


def show(sweep_id: str, results: Path, console: Console) -> None:
    """Print the comparison of a sweep's trials, also while it runs.

    Raises FileNotFoundError for an unknown sweep.
    """
    folder = SweepFolder.find(results, sweep_id)
    sweep = load(folder.spec)
    tracking = Tracking(
        uri=sweep.tracking.uri, experiment=sweep.tracking.experiment, root=folder.root
    )
    run = SweepRun.find(tracking, sweep_id)
    console.print(table(leaderboard.read(run, sweep.search.objective), console.width))
    shares = importances(sweep, folder)
    if shares:
        console.print("\nimportance, the share of the variation explained (fANOVA)", style="bold")
        for field, share in shares.items():
            console.print(f"  {field:<24} {share:6.1%}  {'█' * round(share * 40)}")
    say_links(run, sweep, sweep.promote.model if sweep.promote else None, console)
