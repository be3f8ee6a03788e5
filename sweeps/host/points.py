"""A trial as its host takes it up: with the point that it has now, and the runs that it logs to."""

import os
from collections.abc import Sequence

from sweeps.host.context import SweepContext
from sweeps.host.trial import OpenTrial
from sweeps.results import segments
from sweeps.results.record import Result
from sweeps.spec.mutable import mutable_metrics
from sweeps.tracking import segment_run
from sweeps.tracking.trial_run import TrialRun
from sweeps.trial import Point, Start, trial_id, trial_title


def opened(
    context: SweepContext, host: str, number: int, point: Point, start: Start | None
) -> OpenTrial:
    """Open the runs of a trial, for which the sampler drew `point`, and of its segments.

    `start` is the state of another trial from which it began, `host` the name of who opens it.
    """
    sweep, name = context.sweep, trial_id(number)
    context.folder.pull(context.folder.population)
    every = segments.every(context.folder)
    own = [segment for segment in every if segment.trial == name]
    now, lineage = segments.point_at(own, point), segments.lineage(every, name)
    fixed = {"train.seed": sweep.train.seed, "model.base": sweep.model.base}
    recipe = sweep.recipe.with_point(now)
    run = TrialRun.open(
        context.tracking,
        context.parent_run_id,
        name,
        trial_title(number, point),
        params={**fixed, **point},
        logarithmic=sweep.logarithmic_fields(),
        tags={
            "trial.number": str(number),
            "host": host,
            "node": os.uname().nodename,
            **({"trial.from": f"{start.trial} rung {start.rung}"} if start else {}),
            **({segment_run.LINEAGE: lineage} if lineage else {}),
        },
    )
    return OpenTrial(
        name=name,
        run=run,
        recipe=recipe,
        began=start.rung if start else 0,
        first_rung=sweep.first_judged_rung,
        segments=segment_run.opened(run, own, fixed, sweep.logarithmic_fields()),
        moving=mutable_metrics(sweep, now),
    )


def refuse_lost(trial: OpenTrial, past: Sequence[Result]) -> None:
    """Raise FileNotFoundError for a trial whose newest segment has lost what it begins with.

    `past` are the rungs that it need not train again.
    """
    newest = trial.segments[-1].segment if trial.segments else None
    if newest and (not past or past[-1]["rung"] < newest.rung):
        raise FileNotFoundError(
            f"{newest.trial} goes on from {newest.origin}, but its copy of that snapshot, "
            f"rung-{newest.rung:03d} of the trial's folder, is missing"
        )
