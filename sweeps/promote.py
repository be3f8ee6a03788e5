"""Promotion, first form: an adapter of a sweep becomes the champion of its model."""

from pathlib import Path

from rich.console import Console

from sweeps import registry
from sweeps.earlier import EarlierSweep, adapter_of
from sweeps.front_view import lines
from sweeps.leaderboard import Entry, Leaderboard, no_winner
from sweeps.paths import SweepFolder
from sweeps.spec import Sweep
from sweeps.study import recipe_of
from sweeps.tracking import Tracking


def register_winner(
    sweep: Sweep, folder: SweepFolder, tracking: Tracking, board: Leaderboard, model: str
) -> int:
    """Register the winner's adapter under the alias ``champion``; return the version.

    Raises ValueError when nobody has won or the adapter is gone.
    """
    if board.winner is None:
        raise ValueError(f"{board.sweep_id}: {no_winner(board)}, so there is no best adapter")
    return _register(sweep, folder, tracking, board, board.winner, model)


def promote_trial(name: str, results: Path, model: str | None, console: Console) -> None:
    """Promote a trial of an earlier sweep, and say so.

    `name` is ``SWEEP/trial-003``, or the sweep alone for its winner. Raises ValueError when
    neither the call nor the sweep file names a model, for a trial that cannot be promoted, and
    for a sweep alone that has several objectives: its front has no winner.
    """
    sweep_id, _, trial = name.partition("/")
    earlier = EarlierSweep.find(results, sweep_id)
    sweep, board = earlier.sweep, earlier.board
    model = model or (sweep.promote.model if sweep.promote else None)
    if model is None:
        raise ValueError("the sweep file has no promote.model; name one with --to")
    chosen = _trial(board, trial) if trial else _winner(board)
    version = _register(sweep, earlier.folder, earlier.run.tracking, board, chosen, model)
    console.print(
        f"{chosen.title} is the champion, {model} version {version}: models:/{model}@champion"
    )


def _winner(board: Leaderboard) -> Entry:
    if board.winner is None:
        raise ValueError(f"{board.sweep_id}: {no_winner(board)}, so there is nothing to promote")
    if board.further:
        choices = "".join(f"\n  {line}" for line in lines(board))
        raise ValueError(
            f"{board.sweep_id} has several objectives; choose a trial of its front, such as "
            f"{board.sweep_id}/{board.front[0].trial}:{choices}"
        )
    return board.winner


def _trial(board: Leaderboard, trial: str) -> Entry:
    found = {entry.trial: entry for entry in board.entries}
    if trial not in found:
        raise ValueError(f"no trial {trial!r} in {board.sweep_id}; there are {', '.join(found)}")
    if found[trial].violates:
        raise ValueError(f"{trial} cannot be promoted: {found[trial].violates}")
    if board.objective not in found[trial].best:
        raise ValueError(f"{trial} cannot be promoted: it has no score")
    return found[trial]


def _register(
    sweep: Sweep, folder: SweepFolder, tracking: Tracking, board: Leaderboard, entry: Entry,
    model: str,
) -> int:  # fmt: skip
    best = {
        f"best.{objective.metric}": f"{entry.best[objective.metric]:.6f}"
        for objective in board.objectives
        if objective.metric in entry.best
    }
    return registry.register(
        tracking, entry.run_id, adapter_of(folder, entry), recipe_of(sweep, folder, entry.trial),
        model, tags={"sweep.id": board.sweep_id, "trial.id": entry.trial, **best},
    )  # fmt: skip
