"""Segments in MLflow: where a trial's point changes, a child run of the trial's run begins.

The trial's run keeps the whole curve and the parameters that it began with, for MLflow's parameters
never change. A segment's run has the parameters of the segment and its part of the curve.
"""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from sweeps import names
from sweeps.results.segments import Segment
from sweeps.tracking.client import find_trials
from sweeps.tracking.trial_run import with_log10
from sweeps.trial import trial_number, trial_title

LINEAGE = "trial.lineage"
"""Tag of a trial's run: whose states its weights went through."""
RUNG = "segment.rung"
"""Tag of a segment's run: the rung after which it begins."""


def described(
    segments: Sequence[Segment], params: Mapping[str, Any], logarithmic: Collection[str]
) -> list[dict[str, Any]]:
    """Return the runs of a trial's segments as the trial's record has them; only the last goes on.

    The trial's run is called by the `title` of the last one: by the point that the trial goes on
    with. `params` are what all runs of the sweep have besides the point.
    """
    return [
        {
            "rung": segment.rung,
            "title": (title := trial_title(trial_number(segment.trial), segment.point)),
            "name": f"{title} <- {segment.origin}",
            "params": with_log10({**params, **segment.point}, logarithmic),
            "tags": {"segment.trial": segment.trial, "segment.from": segment.origin},
        }
        for segment in segments
    ]


def of(client: Any, trial: Any) -> list[Any]:
    """Return the runs of the segments of the trial whose run in MLflow is `trial`."""
    return find_trials(client, trial.info.experiment_id, trial.info.run_id, names.has_tag(RUNG))
