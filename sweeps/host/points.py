"""A trial as its host takes it up: with the point that it has now, and its record."""

import os
from collections.abc import Sequence

from sweeps.host.context import SweepContext
from sweeps.host.trial import OpenTrial
from sweeps.host.trial_record import TrialRecord
from sweeps.results import segments
from sweeps.rung_result import RungResult
from sweeps.spec.mutable import moving
from sweeps.tracking import trial_run
from sweeps.tracking.trial_run import with_log10
from sweeps.trial import Point, Start, trial_id, trial_title


def opened(
    context: SweepContext, host: str, number: int, point: Point, start: Start | None
) -> OpenTrial:
    """Put on record that a trial is taken up, for which the sampler drew `point`.

    `start` is the state of another trial from which it began, `host` the name of who opens it.
    """
    sweep, name = context.sweep, trial_id(number)
    context.folder.pull(context.folder.population)
    every = segments.every(context.folder)
    own = [segment for segment in every if segment.trial == name]
    now, lineage = segments.point_at(own, point), segments.lineage(every, name)
    fixed = {"train.seed": sweep.train.seed, "model.base": sweep.model.base}
    recipe = sweep.recipe.with_point(now)
    trial_record = TrialRecord(folder=context.folder, trial=name)
    trial_record.opened(
        trial_title(number, point),
        with_log10({**fixed, **point}, sweep.logarithmic_fields()),
        tags={
            "trial.number": str(number),
            "host": host,
            "node": os.uname().nodename,
            **({"trial.from": f"{start.trial} rung {start.rung}"} if start else {}),
            **({trial_run.LINEAGE: lineage} if lineage else {}),
        },
        segments=trial_run.segment_runs(own, fixed, sweep.logarithmic_fields()),
    )
    return OpenTrial(
        name=name,
        record=trial_record,
        recipe=recipe,
        began=start.rung if start else 0,
        first_rung=sweep.first_judged_rung,
        segments=tuple(own),
        moving=moving(sweep, now),
    )


def refuse_lost(trial: OpenTrial, past: Sequence[RungResult]) -> None:
    """Raise FileNotFoundError for a trial whose newest segment has lost what it begins with.

    `past` are the rungs that it need not train again.
    """
    newest = trial.segments[-1] if trial.segments else None
    if newest and (not past or past[-1].rung < newest.rung):
        raise FileNotFoundError(
            f"{newest.trial} goes on from {newest.origin}, but its copy of that snapshot, "
            f"rung-{newest.rung:03d} of the trial's folder, is missing"
        )
