"""Segments in MLflow: where a trial's point changes, a child run of the trial's run begins.

The trial's run keeps the whole curve and the parameters that it began with, for MLflow's parameters
never change. A segment's run has the parameters of the segment and its part of the curve.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sweeps.context import trial_number, trial_title
from sweeps.population.segments import Segment
from sweeps.tracking import find_trials, log_params, open_run, user
from sweeps.trial_run import Ending, TrialRun, with_log10

LINEAGE = "trial.lineage"
"""Tag of a trial's run: whose states its weights went through."""
RUNG = "segment.rung"
"""Tag of a segment's run: the rung after which it begins."""


@dataclass(frozen=True, kw_only=True)
class SegmentRun:
    """A segment with its run."""

    segment: Segment
    run: TrialRun


def opened(
    trial: TrialRun,
    segments: Sequence[Segment],
    params: Mapping[str, Any],
    logarithmic: Collection[str],
) -> tuple[SegmentRun, ...]:
    """Return a trial's segments with their runs, made or found; only the last one's goes on.

    The trial's run is called by the point that the trial goes on with.
    `params` are what all runs of the sweep have besides the point.
    """
    if not segments:
        return ()
    parent = trial.client.get_run(trial.run_id)
    there = {run.data.tags[RUNG]: run for run in of(trial.client, parent)}
    trial.client.update_run(trial.run_id, name=_title(segments[-1]))
    runs = []
    for segment in segments:
        found = there.get(str(segment.rung))
        if found is not None and segment is not segments[-1]:  # ended for good
            run_id = found.info.run_id
        else:
            run_id = open_run(
                trial.client, parent.info.experiment_id, found, _name(segment),
                _tags(parent, segment),
            )  # fmt: skip
            log_params(trial.client, run_id, with_log10({**params, **segment.point}, logarithmic))
        runs.append(SegmentRun(segment=segment, run=TrialRun(run_id=run_id, client=trial.client)))
    return tuple(runs)


def of(client: Any, trial: Any) -> list[Any]:
    """Return the runs of the segments of the trial whose run in MLflow is `trial`."""
    return find_trials(
        client, trial.info.experiment_id, trial.info.run_id, f"tags.`{RUNG}` LIKE '%'"
    )


def end(client: Any, trial: Any, state: Ending) -> None:
    """End those runs of a trial's segments that nobody ended; most trials have none."""
    if LINEAGE not in trial.data.tags:
        return
    for run in of(client, trial):
        if run.info.status == "RUNNING":
            TrialRun(run_id=run.info.run_id, client=client).end(state)


def _name(segment: Segment) -> str:
    return f"{_title(segment)} <- {segment.origin}"


def _title(segment: Segment) -> str:
    return trial_title(trial_number(segment.trial), segment.point)


def _tags(parent: Any, segment: Segment) -> dict[str, str]:
    return {
        "mlflow.parentRunId": parent.info.run_id,
        "mlflow.user": user(),
        "mlflow.source.name": "sweeps",
        "segment.trial": segment.trial,
        RUNG: str(segment.rung),
        "segment.from": segment.origin,
        "trial.state": "running",
    }
