"""Choice of ``sweeps run`` between a new sweep and a half-finished one of the same name."""

from collections.abc import Callable
from pathlib import Path

from sweeps.results import changes, lease
from sweeps.results.folder import SweepFolder
from sweeps.spec.load import Sweep, load, located
from sweeps.spec.problems import RefusedError
from sweeps.study.study import planned_trials
from sweeps.study.trials import trial_states


def half_finished(sweep: Sweep, results: Path) -> tuple[SweepFolder, str] | None:
    """Return the newest sweep of this name and its state as text.

    None if it has ended or not begun, or another process runs it.
    """
    folder = SweepFolder.newest(results, sweep.name)
    if folder is None or lease.living(folder) is not None:
        return None
    try:
        before = load(folder.spec)
        trials = trial_states(before, folder)
    except ValueError:  # of an older version, or broken: `sweeps resume` says how
        return None
    all_trials = planned_trials(before, folder)
    over = sum(not one.is_open for one in trials.values())
    state = f"{folder.sweep_id} is half-finished: {over} of {all_trials} trials have ended"
    return (folder, state) if trials and over < all_trials else None


def sweep_to_resume(
    sweep: Sweep, results: Path, resume: bool | None, ask: Callable[[str], str] | None
) -> str | None:
    """Return the id of the sweep to resume, or None to begin a new one.

    `resume` is the option of the command line, None without one; `ask` puts a question to a
    person and returns the answer; None where there is nobody.
    Raises `RefusedError` without a decision and when the person cancels, and for a file with which
    the half-finished sweep cannot be resumed.
    """
    found = None if resume is False else half_finished(sweep, results)
    if found is None:
        if resume:
            missing = f"there is no half-finished sweep {sweep.name!r} in {results}"
            raise RefusedError(f"--resume: {missing}")
        return None
    folder, state = found
    if resume is None and ask is None:
        raise RefusedError(
            f"{state}. Go on with it: sweeps resume {folder.sweep_id} (or add --resume); "
            "begin a new one: add --fresh"
        )
    answer = "r" if resume or ask is None else ""
    while ask is not None and answer not in ("r", "f", "c"):
        question = f"{state}. [r]esume it, begin a [f]resh one, or [c]ancel? "
        answer = ask(question).strip().lower()[:1]
    if answer == "c":
        raise RefusedError("cancelled; nothing was started")
    if answer == "f":
        return None
    changes.refuse(load(folder.spec), located(sweep), folder.sweep_id)
    return folder.sweep_id
