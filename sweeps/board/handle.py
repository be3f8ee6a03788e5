"""A handle of one sweep: its file, its folder, its run in MLflow and its leaderboard."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from sweeps.board import leaderboard
from sweeps.board.leaderboard import Leaderboard, no_winner
from sweeps.results import lease
from sweeps.results.folder import SweepFolder
from sweeps.spec.load import Sweep, load
from sweeps.study.study import endings, open_study
from sweeps.study.trials import TrialState
from sweeps.tracking.client import Tracking
from sweeps.tracking.sweep_run import SweepRun


@dataclass(frozen=True, kw_only=True)
class SweepHandle:
    """A sweep that was run, or still runs."""

    sweep: Sweep
    folder: SweepFolder
    run: SweepRun

    @classmethod
    def find(cls, results: Path, sweep_id: str) -> "SweepHandle":
        """Return the sweep called `sweep_id`.

        Raises FileNotFoundError, naming the sweeps there are, and ValueError for one that is not
        tracked where its file says.
        """
        folder = SweepFolder.find(results, sweep_id)
        sweep = load(folder.spec)
        own = sweep.tracking
        tracking = Tracking(uri=own.uri, experiment=own.experiment, root=folder.root)
        return cls(sweep=sweep, folder=folder, run=SweepRun.find(tracking, sweep_id))

    @cached_property
    def board(self) -> Leaderboard:
        """The leaderboard, as study and records have it now."""
        return leaderboard.read(self.sweep, self.folder)

    def end_abandoned_runs(self) -> list[str]:
        """Set the runs of a sweep without a driver to their true final states; return messages.

        A trial that has ended in the study ends so; any other one, and the sweep, was interrupted.
        To be called while holding the sweep's lease: what still runs belongs to its holder.
        """
        runs = [run for run in self.run.trials() if run.info.status == "RUNNING"]
        running = sorted(run.data.tags["trial.id"] for run in runs)
        over = endings(open_study(self.sweep, self.folder)) if running else {}
        for trial in running:
            state, reason = over.get(trial, ("interrupted", None))
            self.run.close_trial(trial, state, reason)
        self.run.close_running()
        lines = [f"ended {len(running)} runs without a driver: {', '.join(running)}"]
        if self.run.is_running:
            self.run.interrupt()
            lines.append("ended the sweep's run as interrupted: its driver died")
        return lines if running else lines[1:]


def has_dead_driver(folder: SweepFolder) -> bool:
    """Tell whether a driver was killed: it left its file."""
    return lease.read(folder) is not None and lease.living(folder) is None


def best_adapter(folder: SweepFolder, board: Leaderboard) -> tuple[TrialState, Path]:
    """Return the winner of a sweep and the folder of its adapter.

    Raises ValueError when there is no winner or the adapter is gone.
    """
    if board.winner is None:
        raise ValueError(f"{board.sweep_id}: {no_winner(board)}, so there is no best adapter")
    return board.winner, adapter_of(folder, board.winner)


def adapter_of(folder: SweepFolder, trial: TrialState) -> Path:
    """Return the folder of a trial's best adapter; raises ValueError when it is gone."""
    adapter = folder.best_adapter(trial.name)
    folder.pull(adapter)
    if not adapter.is_dir():
        raise ValueError(
            f"the adapter of {trial.name} is gone: there is no {adapter}; disk.keep in "
            f"{folder.spec.name} is the number of best trials whose adapters are kept"
        )
    return adapter
