"""``sweeps doctor SWEEP``: reads study, records and MLflow, and prints their differences."""

from collections import defaultdict
from pathlib import Path

from rich.console import Console

from sweeps.board.handle import SweepHandle, has_dead_driver
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


def compare_records(sweep_id: str, results: Path, console: Console) -> int:
    """Print a line per difference with its fix.

    Runs of a driver that was killed are ended; nothing else is changed.
    Raises FileNotFoundError for an unknown sweep, ValueError for one that MLflow does not know.
    """
    earlier = SweepHandle.find(results, sweep_id)
    folder, dead_driver = earlier.folder, None
    if has_dead_driver(folder):
        dead_driver = str(lease.read(folder))
        with lease.held(folder):
            for reason in earlier.end_abandoned_runs():
                console.print(reason, soft_wrap=True)
    trials = trial_states(earlier.sweep, folder)
    disk = _on_disk(earlier, trials, dead_driver)
    found = differences(trials, _runs(earlier), disk, sweep_id)
    for reason in waiting(folder).lines():
        console.print(reason, soft_wrap=True)
    for issue in found:
        console.print(line(issue.path, issue), soft_wrap=True)
    count = sum(len(trial.rungs) for trial in trials.values())
    if not found:
        console.print(f"{len(trials)} trials, {count} rungs: study, records and MLflow agree")
    return DIFFERENT if found else AGREED


def _runs(earlier: SweepHandle) -> dict[str, list[Tracked]]:
    """Return the runs of each trial in MLflow."""
    client, objective = earlier.run.client, earlier.sweep.search.objective.metric
    runs: dict[str, list[Tracked]] = defaultdict(list)
    for run in earlier.run.trials():
        tags = run.data.tags
        history = client.get_metric_history(run.info.run_id, "time/rung_seconds")
        segments = trial_run.find_segments(client, run) if trial_run.LINEAGE in tags else []
        runs[tags["trial.id"]].append(
            Tracked(
                state=tags.get("trial.state", "running"),
                rungs=[int(point.step) for point in history],
                best=run.data.metrics.get(f"best/{objective}"),
                segments=sorted(int(one.data.tags[trial_run.SEGMENT_RUNG]) for one in segments),
            )
        )
    return dict(runs)


def _on_disk(
    earlier: SweepHandle, trials: dict[str, TrialState], dead_driver: str | None
) -> OnDisk:
    folder = earlier.folder
    snapshots: dict[str, list[int]] = {}
    for name in trials:
        found = folder.glob(f"trials/{name}/rung-*")
        snapshots[name] = sorted(int(path.name.removeprefix("rung-")) for path in found)
    return OnDisk(
        folders=frozenset(path.name for path in folder.path.glob("trials/*")),
        adapters=frozenset(name for name in trials if _is_complete(folder, name)),
        snapshots=snapshots,
        kept=frozenset(_expected_adapters(earlier, trials)),
        waiting=waiting(folder).entries,
        driven=lease.living(folder) is not None,
        stale_driver=dead_driver,
    )


def _expected_adapters(earlier: SweepHandle, trials: dict[str, TrialState]) -> list[str]:
    """Return the trials whose adapters `sweeps.results.retention` keeps, by the records alone."""
    latest = {name: trial.rungs[-1] for name, trial in trials.items() if trial.rungs}
    bests = {name: rung.bests for name, rung in latest.items() if rung.bests}
    over = {name: values for name, values in bests.items() if not trials[name].is_open}
    violating = {name for name in over if trials[name].violates}
    ranked, needed = retention_order(earlier.sweep.search, over, violating)
    # A limit may have taken all but the best one.
    limited = earlier.sweep.disk.limit_gb is not None
    kept = ranked[:1] if limited else kept_adapters(earlier.sweep, ranked, needed)
    return [*kept, *(name for name in bests if trials[name].is_open)]


def _is_complete(folder: SweepFolder, name: str) -> bool:
    """Tell whether all files of a trial's best adapter are there."""
    try:
        folder.pull(folder.best_adapter(name))
        check_adapter(folder.best_adapter(name))
    except FileNotFoundError:
        return False
    return True
