"""``sweeps status``: how sweeps stand, by what is on disk; whether a driver lives or not."""

from pathlib import Path

from rich.console import Console

from sweeps.driver.live import status as summed_up
from sweeps.driver.live import table
from sweeps.driver.progress import Board, board_of
from sweeps.results import lease
from sweeps.results.folder import SweepFolder
from sweeps.spec.load import Sweep, load
from sweeps.storage import places
from sweeps.study.study import wanted
from sweeps.study.trials import known
from sweeps.tracking.pending import waiting


def show(sweep_id: str | None, results: Path, console: Console) -> None:
    """Print a sweep's trials, or a line for each sweep.

    Raises FileNotFoundError for an unknown sweep.
    """
    if sweep_id is None:
        _show_all(results, console)
        return
    folder = SweepFolder.find(results, sweep_id)
    sweep = load(folder.spec)
    board = _board(sweep, folder)
    console.print(table(board))
    console.print(_driven(folder, board), soft_wrap=True)
    for line in waiting(folder).lines():
        console.print(line, soft_wrap=True)


def _show_all(results: Path, console: Console) -> None:
    found = sorted(SweepFolder.every(results), key=lambda folder: folder.spec.stat().st_mtime)
    if not found:
        console.print(f"there is no sweep in {places.shown(results)} yet")
    for folder in found:
        folder.refresh()
        try:
            board = _board(load(folder.spec), folder)
        except ValueError as error:  # of an older version
            console.print(f"{folder.sweep_id}: cannot be read: {str(error).splitlines()[0]}")
            continue
        said = "; ".join([summed_up(board), _driven(folder, board), *waiting(folder).lines()])
        console.print(said, soft_wrap=True)


def _board(sweep: Sweep, folder: SweepFolder) -> Board:
    driver = lease.living(folder)
    board = board_of(sweep, folder, known(sweep, folder), wanted(sweep, folder))
    board.paused = driver is not None and folder.paused.exists()
    if driver is None:
        for row in board.rows.values():
            row.state = "interrupted" if row.state == "running" else row.state
    return board


def _driven(folder: SweepFolder, board: Board) -> str:
    driver = lease.living(folder)
    if driver is not None:
        return f"run by {driver}"
    open_trials = any(row.state == "interrupted" for row in board.rows.values())
    if open_trials or len(board.rows) < board.trials:
        return f"not running; go on with: sweeps resume {folder.sweep_id}"
    return "ended"
