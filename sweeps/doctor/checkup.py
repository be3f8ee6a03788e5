"""``sweeps doctor SWEEP``: reads study, records and MLflow, and prints where they differ."""

from collections import defaultdict
from pathlib import Path
from typing import Any

from rich.console import Console

from sweeps.board import abandoned
from sweeps.board.earlier import EarlierSweep
from sweeps.doctor.agreement import OnDisk, Tracked, differences
from sweeps.doctor.check import line
from sweeps.promotion.registry import check_adapter
from sweeps.results import lease
from sweeps.results.folder import SweepFolder
from sweeps.results.retention import kept_adapters, retention_order
from sweeps.study.trials import TrialState, trial_states
from sweeps.tracking import trial_run
from sweeps.tracking.sources import waiting

AGREED, DIFFERENT = 0, 1
"""Exit codes."""


def examine(sweep_id: str, results: Path, console: Console) -> int:
    """Print a line per difference with its fix.

    Runs of a driver that was killed are ended; nothing else is changed.
    Raises FileNotFoundError for an unknown sweep, ValueError for one that MLflow does not know.
    """
    earlier = EarlierSweep.find(results, sweep_id)
    driver = _dead_driver(earlier.folder)
    for reason in _end_abandoned(earlier):
        console.print(reason, soft_wrap=True)
    trials = trial_states(earlier.sweep, earlier.folder)
    runs = _runs(earlier, earlier.sweep.search.objective.metric)
    found = differences(trials, runs, _on_disk(earlier, trials, driver), sweep_id)
    for reason in waiting(earlier.folder).lines():
        console.print(reason, soft_wrap=True)
    for issue in found:
        console.print(line(issue.path, issue), soft_wrap=True)
    count = sum(len(trial.rungs) for trial in trials.values())
    if not found:
        console.print(f"{len(trials)} trials, {count} rungs: study, records and MLflow agree")
    return DIFFERENT if found else AGREED


def _runs(earlier: EarlierSweep, objective: str) -> dict[str, list[Tracked]]:
    runs: dict[str, list[Tracked]] = defaultdict(list)
    for run in earlier.run.trials():
        runs[run.data.tags["trial.id"]].append(_tracked(earlier.run.client, run, objective))
    return dict(runs)


def _tracked(client: Any, run: Any, objective: str) -> Tracked:
    history = client.get_metric_history(run.info.run_id, "time/rung_seconds")
    return Tracked(
        state=run.data.tags.get("trial.state", "running"),
        rungs=[int(point.step) for point in history],
        best=run.data.metrics.get(f"best/{objective}"),
        segments=_segments(client, run),
    )


def _segments(client: Any, run: Any) -> list[int]:
    if trial_run.LINEAGE not in run.data.tags:
        return []
    return sorted(
        int(one.data.tags[trial_run.SEGMENT_RUNG]) for one in trial_run.find_segments(client, run)
    )


def _dead_driver(folder: SweepFolder) -> str | None:
    return str(lease.read(folder)) if abandoned.has_dead_driver(folder) else None


def _end_abandoned(earlier: EarlierSweep) -> list[str]:
    if not abandoned.has_dead_driver(earlier.folder):
        return []
    with lease.held(earlier.folder):
        return abandoned.end(earlier)


def _on_disk(
    earlier: EarlierSweep, trials: dict[str, TrialState], dead_driver: str | None
) -> OnDisk:
    folder = earlier.folder
    living = lease.living(folder)
    return OnDisk(
        folders=frozenset(path.name for path in folder.path.glob("trials/*")),
        adapters=frozenset(name for name in trials if _is_whole(folder, name)),
        snapshots={name: _snapshots(folder, name) for name in trials},
        kept=frozenset(_expected(earlier, trials)),
        waiting=waiting(folder).entries,
        driven=living is not None,
        stale_driver=dead_driver,
    )


def _expected(earlier: EarlierSweep, trials: dict[str, TrialState]) -> list[str]:
    """Return the trials whose adapters `retention.prune` would leave, by the records alone."""
    bests = {
        trial.name: trial.rungs[-1].bests
        for trial in trials.values()
        if trial.rungs and trial.rungs[-1].bests
    }
    over = {name: values for name, values in bests.items() if not trials[name].is_open}
    violating = {name for name in over if trials[name].violates}
    ranked, needed = retention_order(earlier.sweep.search, over, violating)
    # A limit may have taken all but the best one.
    limited = earlier.sweep.disk.limit_gb is not None
    kept = ranked[:1] if limited else kept_adapters(earlier.sweep, ranked, needed)
    return [*kept, *(name for name in bests if trials[name].is_open)]


def _is_whole(folder: SweepFolder, name: str) -> bool:
    try:
        folder.pull(folder.best_adapter(name))
        check_adapter(folder.best_adapter(name))
    except FileNotFoundError:
        return False
    return True


def _snapshots(folder: SweepFolder, name: str) -> list[int]:
    found = folder.glob(f"trials/{name}/rung-*")
    return sorted(int(path.name.removeprefix("rung-")) for path in found)
