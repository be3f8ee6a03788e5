"""What a person sees while a sweep runs: a live table, or plain lines without a terminal."""

from collections.abc import Callable
from functools import partial
from typing import Protocol

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from sweeps.driver.progress import Board, Row
from sweeps.trial import last_line

_COLOURS = {
    "completed": "green", "stopped": "yellow", "failed": "red", "failed-by-guard": "red",
    "interrupted": "magenta",
}  # fmt: skip
_SHOWN = 20  # rows of the table: the best ones and those that run


class View(Protocol):
    """Follows a board from the first trial to the last."""

    def __enter__(self) -> "View":
        """Begin to show."""

    def __exit__(self, *error: object) -> None:
        """Leave what was shown last."""

    def changed(self, row: Row) -> None:
        """Show the change of a trial."""


def view(board: Board, console: Console) -> View:
    """Return the view that fits the console."""
    if console.is_terminal:
        return LiveTable(board, console)
    # An error may hold what looks like markup: [/INST].
    return PlainLines(board, partial(console.print, markup=False, soft_wrap=True))


class LiveTable:
    """A table that is redrawn in place."""

    def __init__(self, board: Board, console: Console) -> None:
        self._board = board
        self._console = console
        # Transient: the leaderboard takes the table's place in the end.
        self._live = Live(table(board), console=console, refresh_per_second=4, transient=True)

    def __enter__(self) -> "LiveTable":
        self._live.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._live.stop()
        self._console.print(status(self._board))
        for line in failures(self._board):
            self._console.print(line, style="red")

    def changed(self, row: Row) -> None:
        """Redraw."""
        self._live.update(table(self._board))


class PlainLines:
    """One line per rung and per end of a trial, for logs."""

    def __init__(self, board: Board, write: Callable[[str], None]) -> None:
        self._board = board
        self._write = write

    def __enter__(self) -> "PlainLines":
        return self

    def __exit__(self, *error: object) -> None:
        self._write(status(self._board))

    def changed(self, row: Row) -> None:
        """Write what happened to a trial."""
        value = "" if row.objective is None else f" {self._board.objective} {row.objective:.4f}"
        rung = f"rung {row.rung}/{self._board.epochs}"
        said = last_line(row.error) if row.error else _ailment(row)
        why = f": {said}" if said else ""
        self._write(f"{row.title}  {rung}{value}  {row.state}{why}")


def table(board: Board) -> Group:
    """Return the trials, best first, under a line that sums the sweep up."""
    grid = Table(box=None, pad_edge=False, header_style="bold")
    grid.add_column("trial", no_wrap=True)
    grid.add_column("rung", justify="right")
    grid.add_column(board.objective, justify="right")
    grid.add_column("best", justify="right")
    grid.add_column("state")
    best = board.best
    for row in shown_rows(board):
        grid.add_row(
            Text(row.title, style="bold" if best is not None and row is best else ""),
            f"{row.rung}/{board.epochs}",
            _number(row.objective),
            _number(row.best),
            Text(row.state, style=_COLOURS.get(row.state, "cyan")),
        )
    errors = [Text(line, style="red") for line in failures(board)]
    warnings = [Text(line, style="yellow") for line in ailments(board)]
    return Group(Text(status(board), style="bold"), grid, *errors, *warnings)


def failures(board: Board) -> list[str]:
    """Return a line for each trial that failed: the error without its traceback."""
    rows = board.rows.values()
    return [f"{row.title}: {last_line(row.error)}" for row in rows if row.error]


def ailments(board: Board) -> list[str]:
    """Return a line for each trial that runs on although something is wrong with its last rung."""
    rows = [row for row in board.rows.values() if row.state == "running" and _ailment(row)]
    return [f"{row.title}: rung {row.rung}: {_ailment(row)}" for row in rows]


def _ailment(row: Row) -> str:
    return "; ".join(said for said in (row.symptoms, row.violates) if said)


def shown_rows(board: Board) -> list[Row]:
    """Return what the table shows: running trials first, then the best of the others."""
    sign = -1.0 if board.mode == "max" else 1.0
    worst = float("inf")
    ranked = sorted(
        board.rows.values(),
        key=lambda row: worst if row.best is None else sign * row.best,
    )
    running = [row for row in ranked if row.state == "running"]
    return (running + [row for row in ranked if row.state != "running"])[:_SHOWN]


def status(board: Board) -> str:
    """Return the line that sums the sweep up."""
    parts = [f"{board.sweep_id}: {board.ended}/{board.trials} trials"]
    if board.paused:
        parts.append("paused")
    if board.best is not None:
        trial = board.best.title.split()[0]
        parts.append(f"best {board.objective} {board.best.best:.4f} ({trial})")
    if board.on_front is not None:
        parts.append(f"{board.on_front} on the front")
    if board.trials_per_minute is not None:
        parts.append(f"{board.trials_per_minute:.1f} trials/min")
    if board.minutes_left:
        parts.append(f"about {board.minutes_left:.1f} min left")
    if board.spent and str(board.spent):
        parts.append(f"budget: {board.spent} used")
    return ", ".join(parts)


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.4f}"
