"""What a driver shows while its sweep runs: a live table, lines for a log, or events as JSON."""

import os
from collections.abc import Callable
from functools import partial

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from sweeps.board.leaderboard import format_score
from sweeps.driver import events
from sweeps.driver.progress import Progress
from sweeps.study.trials import RUNNING, TrialState
from sweeps.trial import last_line

_COLOURS = {
    "completed": "green", "stopped": "yellow", "failed": "red", "failed-by-guard": "red",
    "interrupted": "magenta",
}  # fmt: skip
_SHOWN = 20  # rows of the table: the best ones and those that run


class LiveTable:
    """A table that is redrawn in place."""

    def __init__(self, progress: Progress, console: Console) -> None:
        self._progress, self._console = progress, console
        # Transient: the leaderboard takes the table's place in the end.
        self._live = Live(table(progress), console=console, refresh_per_second=4, transient=True)

    def __enter__(self) -> "LiveTable":
        self._live.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._live.stop()
        self._console.print(summary(self._progress))
        for line in failures(self._progress):
            self._console.print(line, style="red")

    def changed(self, trial: TrialState) -> None:
        """Redraw."""
        self._live.update(table(self._progress))


class PlainLines:
    """One line per rung and per end of a trial, for logs."""

    def __init__(self, progress: Progress, write: Callable[[str], None]) -> None:
        self._progress, self._write = progress, write

    def __enter__(self) -> "PlainLines":
        return self

    def __exit__(self, *error: object) -> None:
        self._write(summary(self._progress))

    def changed(self, trial: TrialState) -> None:
        """Write what happened to a trial."""
        self._write(trial_line(self._progress, trial))


class Events:
    """The same as events, for a reader of the driver's log, see `sweeps.driver.events`."""

    def __init__(self, progress: Progress, write: Callable[[str], None]) -> None:
        self._progress, self._write = progress, write
        self._sweep = ""

    def __enter__(self) -> "Events":
        for trial in list(self._progress.trials.values()):
            self.changed(trial)
        return self

    def __exit__(self, *error: object) -> None:
        self._write(summary(self._progress))

    def changed(self, trial: TrialState) -> None:
        """Write the trial, after the sweep if that has changed."""
        sweep = events.sweep_event(self._progress)
        if sweep != self._sweep:
            self._sweep = sweep
            self._write(sweep)
        self._write(events.trial_event(self._progress, trial))


View = LiveTable | PlainLines | Events
"""Follows the progress of a sweep: a context in which ``changed`` shows each change of a trial."""


def view(progress: Progress, console: Console) -> View:
    """Return the view that the environment asks for, else the one that fits the console."""
    # An error may hold what looks like markup: [/INST].
    write = partial(console.print, markup=False, soft_wrap=True)
    if os.environ.get(events.VARIABLE) == events.JSON:
        return Events(progress, write)
    return LiveTable(progress, console) if console.is_terminal else PlainLines(progress, write)


def trial_line(progress: Progress, trial: TrialState) -> str:
    """Return how a trial stands, in a line."""
    objective = progress.objectives[0].metric
    value = "" if trial.objective is None else f" {objective} {trial.objective:.4f}"
    said = last_line(trial.reason) if trial.reason else warning(trial)
    why = f": {said}" if said else ""
    return f"{trial.title}  rung {trial.rung}/{progress.epochs}{value}  {trial.state}{why}"


def table(progress: Progress) -> Group:
    """Return the trials, best first, under a line that sums the sweep up."""
    grid = Table(box=None, pad_edge=False, header_style="bold")
    grid.add_column("trial", no_wrap=True)
    grid.add_column("rung", justify="right")
    grid.add_column(progress.objectives[0].metric, justify="right")
    grid.add_column("best", justify="right")
    grid.add_column("state")
    best = progress.leaderboard.winner
    for trial in shown_trials(progress):
        grid.add_row(
            Text(trial.title, style="bold" if trial is best else ""),
            f"{trial.rung}/{progress.epochs}",
            format_score(trial.objective),
            format_score(trial.score),
            Text(trial.state, style=_COLOURS.get(trial.state, "cyan")),
        )
    errors = [Text(line, style="red") for line in failures(progress)]
    warned = [Text(line, style="yellow") for line in warnings(progress)]
    return Group(Text(summary(progress), style="bold"), grid, *errors, *warned)


def failures(progress: Progress) -> list[str]:
    """Return a line for each trial that failed: the error without its traceback."""
    trials = progress.trials.values()
    return [f"{trial.title}: {last_line(trial.reason)}" for trial in trials if trial.reason]


def warnings(progress: Progress) -> list[str]:
    """Return a line for each trial that runs on although something is wrong with its last rung."""
    return [
        f"{trial.title}: rung {trial.rung}: {warning(trial)}"
        for trial in progress.trials.values()
        if trial.state == RUNNING and warning(trial)
    ]


def warning(trial: TrialState) -> str:
    """Return what is wrong with the last rung of a trial, and which limits it violates."""
    return "; ".join(said for said in (trial.symptoms, trial.violates) if said)


def shown_trials(progress: Progress) -> list[TrialState]:
    """Return the trials of the table: those that run first, then the best of the others."""
    ranked = progress.leaderboard.trials
    running = [trial for trial in ranked if trial.state == RUNNING]
    return (running + [trial for trial in ranked if trial.state != RUNNING])[:_SHOWN]


def summary(progress: Progress) -> str:
    """Return the line that sums the sweep up."""
    board, objective = progress.leaderboard, progress.objectives[0].metric
    parts = [f"{progress.sweep_id}: {progress.ended}/{progress.wanted} trials"]
    if progress.paused:
        parts.append("paused")
    if board.winner is not None:
        parts.append(f"best {objective} {board.winner.score:.4f} ({board.winner.name})")
    if board.further:
        parts.append(f"{len(board.front)} on the front")
    if progress.trials_per_minute is not None:
        parts.append(f"{progress.trials_per_minute:.1f} trials/min")
    if progress.minutes_left:
        parts.append(f"about {progress.minutes_left:.1f} min left")
    if progress.spent and str(progress.spent):
        parts.append(f"budget: {progress.spent} used")
    return ", ".join(parts)
