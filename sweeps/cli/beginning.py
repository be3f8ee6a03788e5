"""Whether ``sweeps run`` begins anew or goes on with a half-finished sweep of the same name."""

import sys
from collections.abc import Callable
from pathlib import Path

from sweeps.results import changes, lease
from sweeps.results.folder import SweepFolder
from sweeps.spec.files import located
from sweeps.spec.load import Sweep, load
from sweeps.spec.problems import RefusedError
from sweeps.study.study import planned_trials
from sweeps.study.trials import trial_states


def half_finished(sweep: Sweep, results: Path) -> SweepFolder | None:
    """Return the newest sweep of this name if it has begun, has not ended and nobody runs it."""
    folder = SweepFolder.newest(results, sweep.name)
    if folder is None or lease.living(folder) is not None:
        return None
    try:
        before = load(folder.spec)
        trials = trial_states(before, folder)
    except ValueError:  # of an older version, or broken: `sweeps resume` says how
        return None
    over = sum(not trial.is_open for trial in trials.values())
    return folder if trials and over < planned_trials(before, folder) else None


def where_to_go_on(
    sweep: Sweep, results: Path, resume: bool | None, ask: Callable[[str], str] | None
) -> str | None:
    """Return the id of the sweep to go on with, or None to begin a new one.

    `resume` is what the command line says, if it says something; `ask` puts a question to a
    person and returns the answer; None where there is nobody.
    Raises `RefusedError` when nobody decides, and for a file that the half-finished sweep cannot
    go on with.
    """
    if resume is False:
        return None
    folder = half_finished(sweep, results)
    if folder is None:
        if resume:
            raise RefusedError(
                f"--resume: there is no half-finished sweep {sweep.name!r} in {results}"
            )
        return None
    if resume is None and ask is None:
        raise RefusedError(_undecided(folder))
    if resume is None and ask is not None and not _wants_to_resume(folder, ask):
        return None
    changes.refuse(load(folder.spec), located(sweep), folder.sweep_id)
    return folder.sweep_id


def terminal() -> Callable[[str], str] | None:
    """Return how to ask a person, or None where no terminal is."""
    return input if sys.stdin.isatty() and sys.stdout.isatty() else None


def _wants_to_resume(folder: SweepFolder, ask: Callable[[str], str]) -> bool:
    """Ask until the answer is one; raises `RefusedError` when the person cancels."""
    while True:
        said = ask(f"{_state(folder)}. [r]esume it, begin a [f]resh one, or [c]ancel? ").strip()
        match said.lower()[:1]:
            case "r":
                return True
            case "f":
                return False
            case "c":
                raise RefusedError("cancelled; nothing was started")


def _state(folder: SweepFolder) -> str:
    sweep = load(folder.spec)
    trials = trial_states(sweep, folder)
    over = sum(not trial.is_open for trial in trials.values())
    planned = planned_trials(sweep, folder)
    return f"{folder.sweep_id} is half-finished: {over} of {planned} trials have ended"


def _undecided(folder: SweepFolder) -> str:
    return (
        f"{_state(folder)}. Go on with it: sweeps resume {folder.sweep_id} (or add --resume); "
        "begin a new one: add --fresh"
    )
