"""Runs of a sweep without a driver, set to their true final states."""

from sweeps.board.handle import SweepHandle
from sweeps.results import lease
from sweeps.results.folder import SweepFolder
from sweeps.study.study import endings, open_study


def has_dead_driver(folder: SweepFolder) -> bool:
    """Tell whether a driver was killed: it left its file."""
    return lease.read(folder) is not None and lease.living(folder) is None


def end(earlier: SweepHandle) -> list[str]:
    """End the runs of a sweep that has no driver, and say which.

    A trial that the study knows to be over ends so; any other one, and the sweep, was interrupted.
    To be called while holding the sweep's lease: what still runs is none of our business.
    """
    running = _running(earlier)
    over = endings(open_study(earlier.sweep, earlier.folder)) if running else {}
    for trial in running:
        state, reason = over.get(trial, ("interrupted", None))
        earlier.run.close_trial(trial, state, reason)
    earlier.run.close_running()
    lines = [f"ended {len(running)} runs without a driver: {', '.join(running)}"] if running else []
    if earlier.run.is_running:
        earlier.run.interrupt()
        lines.append("ended the sweep's run as interrupted: its driver died")
    return lines


def _running(earlier: SweepHandle) -> list[str]:
    runs = [run for run in earlier.run.trials() if run.info.status == "RUNNING"]
    return sorted(run.data.tags["trial.id"] for run in runs)
