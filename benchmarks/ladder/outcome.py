"""What a rung left in MLflow, read the same way for all rungs."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from benchmarks.ladder.job import EXPERIMENT, Job

CIDER = ("cider", "val/cider")
LOSS = ("val_loss", "val/loss")
"""A metric's names: of Ray's callback, of `sweeps`."""
TRAINING = ("seconds_training", "measured/seconds_per_epoch")
EPOCHS = ("time/rung_seconds",)
"""Seconds of whole epochs, of which P measures the training alone."""
OTHER_PHASES = {
    "start": ("seconds_start",),
    "validation loss": ("seconds_loss",),
    "generation": ("seconds_generation",),
    "scoring": ("seconds_scoring",),
}
"""Seconds that trials of B0 to B3 report."""


@dataclass(frozen=True, kw_only=True)
class Trial:
    """One trial."""

    point: int
    """Index in the job's points."""
    cider: list[float]
    """After each epoch."""
    loss: float
    """On the validation images, after the last epoch."""
    phases: dict[str, float]
    """Seconds."""
    ended: float
    """Seconds since 1970."""


def trials(job: Job) -> list[Trial]:
    """Return all trials that ended well or were stopped early, in the order of the points.

    Raises RuntimeError unless each point has one.
    """
    from mlflow import MlflowClient

    client: Any = MlflowClient(tracking_uri=job.tracking)
    experiment = client.get_experiment_by_name(EXPERIMENT)
    # One that was stopped early Ray's callback calls finished, and `sweeps` killed.
    over = ("FINISHED", "KILLED") if job.asha else ("FINISHED",)
    found = [
        _trial(client, run, job)
        for run in client.search_runs([experiment.experiment_id])
        if run.info.status in over and "quantization" in run.data.params
    ]
    found.sort(key=lambda trial: trial.point)
    if [trial.point for trial in found] != list(range(len(job.points))):
        ended = [trial.point for trial in found]
        raise RuntimeError(f"{job.work}: of {len(job.points)} points these ended: {ended}")
    return found


def _trial(client: Any, run: Any, job: Job) -> Trial:
    def history(names: tuple[str, ...]) -> list[float]:
        for name in names:
            values = client.get_metric_history(run.info.run_id, name)
            if values:  # step 0 is the base without an adapter
                return [value.value for value in sorted(values, key=_step) if value.step]
        return []

    loss = history(LOSS)
    return Trial(
        point=_index(run.data.params, job),
        cider=history(CIDER),
        loss=loss[-1] if loss else math.nan,
        phases=_phases(history),
        ended=run.info.end_time / 1000,
    )


def _phases(history: Any) -> dict[str, float]:
    start = history(OTHER_PHASES["start"])[:1]  # once, though reported with each epoch
    found = {name: sum(history(names)) for name, names in OTHER_PHASES.items()}
    training, whole = sum(history(TRAINING)), sum(history(EPOCHS))
    rest = whole - training if whole else 0.0
    return found | {"start": sum(start), "training": training, "rest of epochs": rest}


def _step(value: Any) -> int:
    return int(value.step)


def _index(params: Mapping[str, str], job: Job) -> int:
    """Return which of the job's points a run has trained."""
    for number, point in enumerate(job.points):
        if all(_equal(params[field], value) for field, value in point.items()):
            return number
    raise RuntimeError(f"{job.work}: a run has parameters that are no point: {dict(params)}")


def _equal(text: str, value: Any) -> bool:
    return text == value if isinstance(value, str) else math.isclose(float(text), value)
