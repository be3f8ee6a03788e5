"""``sweeps doctor SWEEP``: reads study, records and MLflow, and prints where they differ."""

from collections import defaultdict
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.text import Text

from sweeps import disk, lease
from sweeps.agreement import OnDisk, Tracked, differences
from sweeps.earlier import EarlierSweep
from sweeps.paths import SweepFolder
from sweeps.registry import check_adapter
from sweeps.trials import Known, known

AGREED, DIFFERENT = 0, 1
"""Exit codes."""


def examine(sweep_id: str, results: Path, console: Console) -> int:
    """Print a line per difference with what mends it; nothing is changed.

    Raises FileNotFoundError for an unknown sweep, ValueError for one that MLflow does not know.
    """
    earlier = EarlierSweep.find(results, sweep_id)
    trials = known(earlier.sweep, earlier.folder)
    runs = _runs(earlier, earlier.sweep.search.objective.metric)
    found = differences(trials, runs, _on_disk(earlier, trials), sweep_id)
    for one in found:
        console.print(Text.assemble((one.where, "bold red"), f": {one.what} -> {one.mend}"),
                      soft_wrap=True)  # fmt: skip
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
    )


def _on_disk(earlier: EarlierSweep, trials: dict[str, Known]) -> OnDisk:
    folder, driver = earlier.folder, lease.read(earlier.folder)
    living = lease.living(folder)
    return OnDisk(
        folders=frozenset(path.name for path in folder.path.glob("trials/*")),
        adapters=frozenset(name for name in trials if _is_whole(folder, name)),
        snapshots={name: _snapshots(folder, name) for name in trials},
        kept=frozenset(_expected(earlier, trials)),
        driven=living is not None,
        stale_driver=str(driver) if driver is not None and living is None else None,
    )


def _expected(earlier: EarlierSweep, trials: dict[str, Known]) -> list[str]:
    """Return the trials whose adapters must be there: those that run, and that are kept."""
    last = {trial.name: trial.rungs[-1] for trial in trials.values() if trial.rungs}
    running = [name for name in disk.ranked(earlier.sweep, last) if trials[name].runs]
    over = {name: result for name, result in last.items() if not trials[name].runs}
    # A limit may have taken all but the best one.
    limited = disk.ranked(earlier.sweep, over)[:1]
    kept = limited if earlier.sweep.disk.limit_gb else disk.kept_adapters(earlier.sweep, over)
    return [*running, *kept]


def _is_whole(folder: SweepFolder, name: str) -> bool:
    try:
        check_adapter(folder.best_adapter(name))
    except FileNotFoundError:
        return False
    return True


def _snapshots(folder: SweepFolder, name: str) -> list[int]:
    return sorted(
        int(path.name.removeprefix("rung-")) for path in folder.trial(name).glob("rung-*")
    )
