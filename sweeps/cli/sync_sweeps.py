"""``sweeps sync``: publishes pending lines to MLflow, and ends the runs without a driver."""

from contextlib import nullcontext
from pathlib import Path

from rich.console import Console

from sweeps.board.handle import SweepHandle, has_dead_driver
from sweeps.board.standings import record_standings
from sweeps.pages.report import publish
from sweeps.results import lease
from sweeps.results.folder import SweepFolder
from sweeps.storage import places
from sweeps.tracking.sources import waiting

SENT, WAITS = 0, 1
"""Exit codes: nothing is left; something waits or was refused."""


def sync_sweeps(sweep_id: str | None, results: Path, console: Console) -> int:
    """Sync one sweep, or all of them; return `SENT` when nothing waits any more.

    Raises FileNotFoundError for an unknown sweep, ConnectionError when MLflow does not answer.
    """
    if sweep_id is not None:
        return _sync(SweepFolder.find(results, sweep_id), results, console)
    found = [SweepFolder.find(results, folder.sweep_id) for folder in SweepFolder.every(results)]
    needy = [folder for folder in found if _needs(folder)]
    if not needy:
        console.print("nothing waits for MLflow")
    return max((_sync(folder, results, console) for folder in needy), default=SENT)


def _sync(folder: SweepFolder, results: Path, console: Console) -> int:
    if not _needs(folder) and not waiting(folder).refused:
        console.print(f"{folder.sweep_id}: nothing waits for MLflow")
        return SENT
    earlier = SweepHandle.find(results, folder.sweep_id)
    driven = lease.living(folder) is not None
    if driven and places.around(folder.path):
        console.print(
            f"{folder.sweep_id}: its driver is running and publishes what waits; nothing to do",
            soft_wrap=True,
        )
        return WAITS
    with nullcontext() if driven else lease.held(folder):
        sent = earlier.run.publisher.publish(again=True)
        ended = [] if driven else earlier.end_abandoned_runs()
    console.print(f"{folder.sweep_id}: {sent} entries sent to {earlier.run.tracking.address}")
    for line in [*ended, *waiting(folder).lines()]:
        console.print(f"{folder.sweep_id}: {line}", soft_wrap=True)
    left = waiting(folder)
    if left.count or left.refused:
        return WAITS
    if sent and not driven:
        _publish(earlier, console)
    return SENT


def _publish(earlier: SweepHandle, console: Console) -> None:
    """Write what needs all of a sweep in MLflow: standings, note, plots and report."""
    run, board = earlier.run, earlier.board
    run.log(best_trial=board.winner.name if board.winner else None)
    board = record_standings(run, board)
    publish(earlier.sweep, earlier.folder, run, board, console)
    winner = f"; best is {board.winner.title}" if board.winner else ""
    console.print(f"{board.sweep_id}: leaderboard of {len(board.trials)} trials written{winner}")


def _needs(folder: SweepFolder) -> bool:
    return bool(waiting(folder).count) or has_dead_driver(folder)
