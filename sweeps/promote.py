"""Promotion, first form: the best adapter of a sweep becomes the champion of its model."""

from pathlib import Path

from rich.console import Console

from sweeps import leaderboard, registry
from sweeps.leaderboard import Leaderboard
from sweeps.paths import SweepFolder
from sweeps.spec import Sweep, load
from sweeps.study import recipe_of
from sweeps.sweep_run import SweepRun
from sweeps.tracking import Tracking


def register_winner(
    sweep: Sweep, folder: SweepFolder, tracking: Tracking, board: Leaderboard, model: str
) -> int:
    """Register the winner's adapter under the alias ``champion``; return the version.

    Raises ValueError when no trial was scored or the adapter is gone.
    """
    winner = board.winner
    if winner is None:
        raise ValueError(f"{board.sweep_id}: no trial has a score, so there is nothing to promote")
    adapter = folder.best_adapter(winner.trial)
    if not adapter.is_dir():
        raise ValueError(f"the adapter of {winner.trial} is gone: there is no {adapter}")
    return registry.register(
        tracking, winner.run_id, adapter, recipe_of(sweep, folder, winner.trial), model,
        tags={"sweep.id": board.sweep_id, "trial.id": winner.trial,
              f"best.{board.objective}": f"{winner.best[board.objective]:.6f}"},
    )  # fmt: skip


def promote_winner(sweep_id: str, results: Path, model: str | None, console: Console) -> None:
    """Promote the winner of an earlier sweep, and say so.

    Raises ValueError when neither the call nor the sweep file names a model.
    """
    folder = SweepFolder.find(results, sweep_id)
    sweep = load(folder.spec)
    name = model or (sweep.promote.model if sweep.promote else None)
    if name is None:
        raise ValueError("the sweep file has no promote.model; name one with --to")
    tracking = Tracking(
        uri=sweep.tracking.uri, experiment=sweep.tracking.experiment, root=folder.root
    )
    run = SweepRun.find(tracking, sweep_id)
    board = leaderboard.read(run, sweep.search.objective)
    version = register_winner(sweep, folder, tracking, board, name)
    console.print(f"{name} version {version} is the champion: models:/{name}@champion")
