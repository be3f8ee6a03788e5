"""What only MLflow has of a sweep's trials: their runs, and the scores of the base."""

from collections.abc import Collection, Iterable

from sweeps.tracking.sweep_run import SweepRun


def run_ids(parent: SweepRun) -> dict[str, str]:
    """Return trial -> id of its run, of the trials that have one."""
    return {run.data.tags["trial.id"]: run.info.run_id for run in parent.trials()}


def run_id(parent: SweepRun, trial: str) -> str:
    """Return the id of a trial's run; raises ValueError for a trial without one."""
    found = run_ids(parent).get(trial)
    if found is None:
        raise ValueError(
            f"{trial} of {parent.sweep_id} has no run in MLflow; send it with: "
            f"sweeps sync {parent.sweep_id}"
        )
    return found


def base_scores(
    parent: SweepRun, run_ids: Iterable[str], keys: Collection[str]
) -> dict[str, float]:
    """Return the base's scores before training, by their keys in reports (``val/cider``).

    All trials have the same; they are read from the first run that has some.
    """
    for run_id in run_ids:
        found = {
            key: float(point.value)
            for key in keys
            for point in parent.client.get_metric_history(run_id, key)
            if point.step == 0
        }
        if found:
            return found
    return {}
