"""Segments in MLflow: where a trial's point changes, a child run of the trial's run begins.

The trial's run keeps the whole curve and the parameters that it began with, for MLflow's parameters
never change. A segment's run has the parameters of the segment and its part of the curve.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sweeps import names
from sweeps.results.segments import Segment
from sweeps.tracking import entries
from sweeps.tracking.client import find_trials
from sweeps.tracking.outbox import of_trial
from sweeps.tracking.trial_run import TrialRun, with_log10
from sweeps.trial import Ending, trial_number, trial_title

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
    trial.outbox.put(entries.named(_title(segments[-1])))
    runs = []
    for segment in segments:
        run = _run(trial, segment.rung)
        every = with_log10({**params, **segment.point}, logarithmic)
        # One that is over has ended for good.
        again = segment is segments[-1]
        run.outbox.put(entries.opened(_name(segment), _tags(segment), every, again=again))
        runs.append(SegmentRun(segment=segment, run=run))
    return tuple(runs)


def of(client: Any, trial: Any) -> list[Any]:
    """Return the runs of the segments of the trial whose run in MLflow is `trial`."""
    return find_trials(client, trial.info.experiment_id, trial.info.run_id, names.has_tag(RUNG))


def end(trial: TrialRun, state: Ending) -> None:
    """End those runs of a trial's segments that nobody ended; most trials have none.

    Raises AwayError when MLflow is away.
    """
    for rung in trial.outbox.line.attempt(lambda client: _running(client, trial)):
        _run(trial, rung).end(state, once=True)


def _running(client: Any, trial: TrialRun) -> list[int]:
    run = trial.outbox.run.find(client)
    if run is None or LINEAGE not in run.data.tags:
        return []
    every = of(client, run)
    return [int(one.data.tags[RUNG]) for one in every if one.info.status == "RUNNING"]


def _run(trial: TrialRun, rung: int) -> TrialRun:
    box, address = trial.outbox, trial.outbox.run.address
    assert address, "a trial's run has an address"
    return TrialRun(outbox=of_trial(box.tracking, address.sweep_run_id, address.trial, rung))


def _name(segment: Segment) -> str:
    return f"{_title(segment)} <- {segment.origin}"


def _title(segment: Segment) -> str:
    return trial_title(trial_number(segment.trial), segment.point)


def _tags(segment: Segment) -> dict[str, str]:
    return {
        "segment.trial": segment.trial,
        "segment.from": segment.origin,
        "trial.state": "running",
    }
