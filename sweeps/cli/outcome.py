"""A sweep from the command line: run it, print the leaderboard, send its winner to the gate."""

import shlex
from pathlib import Path

from rich.console import Console
from rich.table import Table
from rich.text import Text

from sweeps.board import leaderboard
from sweeps.board.handle import SweepHandle
from sweeps.board.leaderboard import Leaderboard
from sweeps.board.standings import record_standings
from sweeps.board.view import sweep_links
from sweeps.capacity import disk
from sweeps.driver.run import run
from sweeps.pages.report import publish
from sweeps.promotion.adapters import challenger_of
from sweeps.promotion.gate import Policy
from sweeps.promotion.promote import promote
from sweeps.spec.load import Sweep
from sweeps.storage import places
from sweeps.study.trials import TrialState
from sweeps.tracking.connection import AwayError
from sweeps.tracking.sources import waiting
from sweeps.tracking.sweep_run import SweepRun

COMPLETED, NO_WINNER, INTERRUPTED = 0, 1, 130
"""Exit codes."""
_SHOWN = 10  # trials of the table
# In characters: all that is neither metric nor standing, a standing, the front, a metric.
_TITLE_WIDTH, _STANDING_WIDTH, _FRONT_WIDTH, _METRIC_WIDTH = 54, 26, 7, 13


def run_sweep(sweep: Sweep, results: Path, resume: str | None, console: Console) -> int:
    """Run a sweep, or resume the one called `resume`, and return the exit code of the command."""
    short = disk.warning(sweep, results)
    if short:
        console.print(f"warning: {short}", style="yellow", soft_wrap=True)
    outcome = run(sweep, results, console, resume)
    earlier, board, tracked = outcome.handle, outcome.leaderboard, outcome.tracked
    folder, parent = earlier.folder, earlier.run
    if tracked:
        try:
            connection, found = parent.connection, outcome.leaderboard
            board = connection.attempt(lambda _: record_standings(parent, found))
        except AwayError:
            tracked = False
    # Plots take seconds that an interrupted sweep does not have; `sweeps report` makes them.
    if tracked and not outcome.interrupted:
        publish(sweep, folder, parent, board, console)
    print_leaderboard(board, console)
    if not tracked:
        away = (
            "MLflow is away: the leaderboard is that of the records on disk, without intervals "
            "and the score of the base"
        )
        console.print(away, style="yellow", soft_wrap=True)
    for line in waiting(folder).lines():
        console.print(line, style="yellow", soft_wrap=True)
    if outcome.interrupted:
        console.print(
            f"\nstopped. Kept in {places.shown(folder.path)}: every reported rung, the study, "
            "snapshots and best adapters.\n"
            f"Go on with: sweeps resume {folder.sweep_id}{results_option(folder.root)}",
            soft_wrap=True,
        )
        return INTERRUPTED
    if board.winner is None:
        why = leaderboard.no_winner(board)
        console.print(f"{why}; the reasons stand above and in MLflow", style="red")
        return NO_WINNER
    model = _promote(sweep, earlier, board.winner, tracked, console)
    print_links(parent, sweep, model, console)
    return COMPLETED


def _promote(
    sweep: Sweep, earlier: SweepHandle, winner: TrialState, tracked: bool, console: Console
) -> str | None:
    """Send the winner through the gate if the file says so; return its registered model.

    A failure does not change how the sweep has ended.
    """
    wanted = sweep.promote
    if wanted is None:
        return None
    sweep_id = earlier.folder.sweep_id
    if not tracked:
        console.print(
            f"not promoted, for the registry is MLflow's; when it is back: sweeps sync {sweep_id}, "
            f"then sweeps promote {sweep_id}",
            soft_wrap=True,
        )
        return None
    if not wanted.auto:
        how = f"sweeps promote {sweep_id}"
        console.print(f"to make the winner the champion of {wanted.model}: {how}")
        return None
    console.print(f"\npromote.auto: {winner.title} is judged on the test images", style="bold")
    try:
        promote(challenger_of(earlier, winner), Policy.of(sweep), earlier.run.tracking, console)
    except Exception as error:  # a sweep of hours has ended: what it found is not to be lost
        reason = f"{type(error).__name__}: {error}"
        console.print(f"not promoted, it could not be judged: {reason}", style="red")
        return None
    return wanted.model


def print_links(parent: SweepRun, sweep: Sweep, model: str | None, console: Console) -> None:
    """Print the addresses of the sweep's pages in MLflow."""
    links = sweep_links(parent, sweep, model)
    if sweep.tracking.uri is None:
        option = results_option(parent.tracking.root)
        console.print(f"\nsee it in MLflow: sweeps ui{option}, then open", soft_wrap=True)
    for name, address in (
        ("leaderboard", links.leaderboard),
        ("charts", links.charts),
        ("captions", links.predictions),
        ("model", links.model),
    ):
        if address:
            console.print(f"  {name:<12} {address}", soft_wrap=True)


def results_option(root: Path) -> str:
    """Return the option by which a command typed here finds the results; empty by default."""
    usual = root.absolute() == Path.cwd() / "sweep-results"
    return "" if usual else f" --results {shlex.quote(places.shown(root))}"


def print_leaderboard(board: Leaderboard, console: Console) -> None:
    """Print the leaderboard, the trials tied with the best, and the front of several objectives."""
    console.print(table(board, console.width))
    for line in (leaderboard.describe_tied(board), *board.notes):
        if line:
            console.print(line, soft_wrap=True)
    for line in leaderboard.warnings(board):
        console.print(Text(line, style="red"), soft_wrap=True)
    if not board.further:
        return
    console.print(f"\nPareto front: {len(board.front)} of {len(board.trials)} trials", style="bold")
    grid = Table(box=None, pad_edge=False, header_style="bold")
    grid.add_column("trial")
    for objective in board.objectives:
        grid.add_column(f"{objective.metric} ({objective.mode})", justify="right")
    for trial in board.front:
        grid.add_row(trial.title, *map(leaderboard.format_score, trial.values))
    console.print(grid)


def table(board: Leaderboard, width: int) -> Table:
    """Return the best trials and the base, with as many metrics as `width` characters hold."""
    taken = _TITLE_WIDTH + (_STANDING_WIDTH if board.images else 0)
    taken += _FRONT_WIDTH if board.further else 0
    metrics = board.shown[1 : max(1, (width - taken) // _METRIC_WIDTH)]
    grid = Table(box=None, pad_edge=False, header_style="bold")
    for column in leaderboard.header(board, metrics):
        justify = "left" if column in ("trial", "state", "front", "vs best") else "right"
        # Where it is too narrow for all, titles go over two lines, and no digit is lost.
        grid.add_column(column, justify=justify, no_wrap=column != "trial")  # type: ignore[arg-type]
    for trial in board.trials[:_SHOWN]:
        grid.add_row(*leaderboard.row(board, trial, metrics))
    if len(board.trials) > _SHOWN:
        grid.add_row(f"... and {len(board.trials) - _SHOWN} more", style="dim")
    front = [""] if board.further else []
    grid.add_row("zero-shot", "", *front, leaderboard.format_score(board.zero_shot), style="dim")
    return grid
