"""Promotion, first form: the best adapter of a sweep becomes the champion of its model."""

from pathlib import Path

from rich.console import Console

from sweeps import registry
from sweeps.earlier import EarlierSweep, best_adapter
from sweeps.leaderboard import Leaderboard
from sweeps.paths import SweepFolder
from sweeps.spec import Sweep
from sweeps.study import recipe_of
from sweeps.tracking import Tracking


def register_winner(
    sweep: Sweep, folder: SweepFolder, tracking: Tracking, board: Leaderboard, model: str
) -> int:
    """Register the winner's adapter under the alias ``champion``; return the version.

    Raises ValueError when no trial was scored or the adapter is gone.
    """
    winner, adapter = best_adapter(folder, board)
    return registry.register(
        tracking, winner.run_id, adapter, recipe_of(sweep, folder, winner.trial), model,
        tags={"sweep.id": board.sweep_id, "trial.id": winner.trial,
              f"best.{board.objective}": f"{winner.best[board.objective]:.6f}"},
    )  # fmt: skip


def promote_winner(sweep_id: str, results: Path, model: str | None, console: Console) -> None:
    """Promote the winner of an earlier sweep, and say so.

    Raises ValueError when neither the call nor the sweep file names a model.
    """
    earlier = EarlierSweep.find(results, sweep_id)
    sweep = earlier.sweep
    name = model or (sweep.promote.model if sweep.promote else None)
    if name is None:
        raise ValueError("the sweep file has no promote.model; name one with --to")
    version = register_winner(sweep, earlier.folder, earlier.run.tracking, earlier.board, name)
    console.print(f"{name} version {version} is the champion: models:/{name}@champion")
