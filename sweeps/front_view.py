"""The Pareto front of a sweep with several objectives: a table, and in MLflow tags and a plot."""

from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table

from sweeps.leaderboard import Entry, Leaderboard, number
from sweeps.objectives import Objective
from sweeps.sweep_run import SweepRun
from sweeps.tracking import set_tags

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FRONT = "trial.front"
"""Tag of a trial's run: whether it lies on the front."""
PLOT = "front.png"
"""Artifact of the sweep's run."""


def record(parent: SweepRun, board: Leaderboard) -> None:
    """Write the front into MLflow; of a single objective there is none to write."""
    if not board.further:
        return
    for entry in board.entries:
        set_tags(parent.client, entry.run_id, {FRONT: "yes" if entry in board.front else "no"})
    if board.front:
        parent.client.log_figure(parent.run_id, plot(board), PLOT)


def say(board: Leaderboard, console: Console) -> None:
    """Print the front of several objectives as a table."""
    if not board.further:
        return
    console.print(
        f"\nPareto front: {len(board.front)} of {len(board.entries)} trials", style="bold"
    )
    grid = Table(box=None, pad_edge=False, header_style="bold")
    grid.add_column("trial")
    for objective in board.objectives:
        grid.add_column(f"{objective.metric} ({objective.mode})", justify="right")
    for entry in board.front:
        grid.add_row(entry.title, *map(number, board.values(entry)))
    console.print(grid)


def lines(board: Leaderboard) -> list[str]:
    """Return the trials of the front with their objectives, one in a line."""
    names = [objective.metric for objective in board.objectives]
    return [
        f"{entry.trial}: "
        + ", ".join(
            f"{name} {number(value)}"
            for name, value in zip(names, board.values(entry), strict=True)
        )
        for entry in board.front
    ]


def plot(board: Leaderboard) -> "Figure":
    """Return a panel per further objective: it goes right, the leading objective goes up."""
    from matplotlib.figure import Figure  # without pyplot: no display, no global state

    figure = Figure(figsize=(5 * len(board.further), 4), layout="constrained")
    panels = figure.subplots(1, len(board.further), sharey=True, squeeze=False)[0]
    for panel, objective in zip(panels, board.further, strict=True):
        _draw(panel, board, objective)
    panels[0].set_ylabel(f"{board.objective} ({board.mode})")
    figure.suptitle(f"{board.sweep_id}: Pareto front of {len(board.front)} trials")
    return figure


def _draw(panel: Any, board: Leaderboard, objective: Objective) -> None:
    on_front = list(board.front)
    others = [each for each in board.entries if board.values(each) and each not in on_front]
    for entries, colour in ((others, "lightgrey"), (on_front, "tab:blue")):
        across = [entry.best[objective.metric] for entry in entries]
        up = [entry.best[board.objective] for entry in entries]
        panel.scatter(across, up, color=colour)
    for entry in on_front:
        _name(panel, entry, entry.best[objective.metric], entry.best[board.objective])
    panel.set_xlabel(f"{objective.metric} ({objective.mode})")


def _name(panel: Any, entry: Entry, across: float, up: float) -> None:
    panel.annotate(
        entry.trial.rpartition("-")[2], (across, up), xytext=(4, 4), textcoords="offset points"
    )
