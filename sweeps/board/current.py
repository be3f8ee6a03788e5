"""The leaderboard of a sweep: MLflow's, or by the records on disk while MLflow lacks something."""

from typing import Any

from sweeps.board import leaderboard
from sweeps.board.leaderboard import Entry, Leaderboard, ranked
from sweeps.results.folder import SweepFolder
from sweeps.spec.load import Sweep
from sweeps.study.trials import Known, known
from sweeps.tracking.connection import AwayError
from sweeps.tracking.pending import waiting
from sweeps.tracking.sweep_run import SweepRun
from sweeps.tracking.trial_run import best_keys
from sweeps.trial import GUARD, VIOLATES


def current(sweep: Sweep, folder: SweepFolder, parent: SweepRun) -> tuple[Leaderboard, bool]:
    """Return the leaderboard, and whether it is MLflow's: nothing waits, and MLflow answers."""
    if not waiting(folder).count:
        try:
            read = parent.line.attempt(lambda _: leaderboard.of_search(parent, sweep.search))
        except AwayError:
            pass
        else:
            return read, True
    return of_records(sweep, folder), False


def of_records(sweep: Sweep, folder: SweepFolder) -> Leaderboard:
    """Return the leaderboard by the study and the trials' records, without runs of MLflow."""
    objective = sweep.search.objective
    entries = [_entry(trial) for trial in known(sweep, folder).values()]
    return Leaderboard(
        sweep_id=folder.sweep_id,
        objective=objective.metric,
        mode=objective.mode,
        entries=ranked(entries, objective.metric, objective.mode),
        zero_shot=None,  # no trial has it on record
        further=tuple(sweep.search.objectives[1:]),
        limited=tuple(sweep.search.limited),
    )


def _entry(trial: Known) -> Entry:
    last = trial.rungs[-1] if trial.rungs else {}
    best = _best(trial)
    metrics = best_keys(best["metrics"]) if best else {}
    final = {key: value for key, value in last.get("metrics", {}).items() if "final/" in key}
    return Entry(
        trial=trial.name,
        title=trial.title,
        run_id="",
        state="interrupted" if trial.runs else trial.state,
        params={path: str(value) for path, value in trial.point.items()},
        best={key.removeprefix("best/"): value for key, value in metrics.items()},
        rung=int(best["rung"]) if best else None,
        rungs=int(last.get("rung", 0)),
        final={key.removeprefix("final/"): value for key, value in final.items()},
        guard=last.get(GUARD),
        violates=last.get(VIOLATES),
    )


def _best(trial: Known) -> Any:
    """Return the rung of the record that the last one calls the best; None before there is one."""
    value = trial.rungs[-1]["best"] if trial.rungs else None
    if value is None:
        return None
    return next((rung for rung in trial.rungs if rung["objective"] == value), None)
