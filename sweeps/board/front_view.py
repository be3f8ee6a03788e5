"""The Pareto front of a sweep with several objectives, as a table."""

from rich.console import Console
from rich.table import Table

from sweeps.board.leaderboard import Leaderboard, format_score

FRONT = "trial.front"
"""Tag of a trial's run: whether it lies on the front."""


def print_front(board: Leaderboard, console: Console) -> None:
    """Print the front of several objectives as a table."""
    if not board.further:
        return
    console.print(f"\nPareto front: {len(board.front)} of {len(board.trials)} trials", style="bold")
    grid = Table(box=None, pad_edge=False, header_style="bold")
    grid.add_column("trial")
    for objective in board.objectives:
        grid.add_column(f"{objective.metric} ({objective.mode})", justify="right")
    for trial in board.front:
        grid.add_row(trial.title, *map(format_score, trial.values))
    console.print(grid)
