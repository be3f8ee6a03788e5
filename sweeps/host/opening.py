"""How a trial gets its slot: fresh, from another trial's state, or after its rungs on record; and
the captions that it leaves on its record."""

import os
from typing import TYPE_CHECKING

from sweeps.host.context import SweepContext
from sweeps.host.trial import OpenTrial
from sweeps.host.trial_record import TrialRecord
from sweeps.results import best, record, segments
from sweeps.rung_result import RungResult
from sweeps.spec.mutable import mutable_metrics
from sweeps.tracking import trial_run
from sweeps.tracking.trial_run import EXAMPLE_IMAGES, with_log10
from sweeps.trial import Point, Start, trial_id, trial_title
from workers.report import Prediction

if TYPE_CHECKING:
    from workers.data.sample import Sample
    from workers.host.host import Host


def open_trial(
    context: SweepContext,
    host: "Host",
    host_name: str,
    number: int,
    point: Point,
    start: Start | None,
) -> OpenTrial:
    """Give a trial a slot; it resumes after the rungs on record, else it begins from `start`.

    `point` is the one that the sampler gave it. Raises FileNotFoundError for a trial whose newest
    segment has lost the snapshot that it begins with.
    """
    past = record.usable(context.folder, trial_id(number))
    trial = _put_on_record(context, host_name, number, point, start)
    newest = trial.segments[-1] if trial.segments else None
    if newest and (not past or past[-1].rung < newest.rung):
        raise FileNotFoundError(
            f"{newest.trial} goes on from {newest.origin}, but its copy of that snapshot, "
            f"rung-{newest.rung:03d} of the trial's folder, is missing"
        )
    if past:
        _resume(context, host, trial, past[-1])
    else:
        _begin(context, host, trial, start)
    return trial


def take_over(context: SweepContext, name: str, fencing_token: str) -> None:
    """Let no other host report this trial any more."""
    context.folder.write(context.folder.opening(name), fencing_token)


def lost_ownership(context: SweepContext, trial: OpenTrial) -> bool:
    """Tell whether the trial was resumed elsewhere while this host was away.

    A node that was cut off from the network continues to train a trial that others have by now.
    """
    return context.folder.read(context.folder.opening(trial.name)) != trial.fencing_token


def log_predictions(host: "Host", trial: OpenTrial, *, may_wait: bool) -> None:
    """Write the captions of a trial that leaves its slot; `may_wait`: it may come back."""
    if not trial.predictions:
        return
    trial.record.log_predictions(trial.predictions, _samples(host, trial))
    # Examples are stored once: those of a trial that only waits would stay for ever.
    if trial.is_over or not may_wait:
        log_examples(host, trial, trial.predictions, step=trial.recipe.train.epochs)


def log_examples(
    host: "Host", trial: OpenTrial, predictions: tuple[Prediction, ...], step: int
) -> None:
    """Write the first images with their captions."""
    captions = {prediction.image_id: prediction.caption for prediction in predictions}
    samples = [
        sample
        for sample in host.scored_samples(trial.recipe)[:EXAMPLE_IMAGES]
        if sample.id in captions
    ]
    trial.record.log_examples(samples, [captions[sample.id] for sample in samples], step)


def _samples(host: "Host", trial: OpenTrial) -> "list[Sample]":
    """Return the images of the trial's captions: those of a rung, or of the last scoring."""
    validation = host.data_set(trial.recipe).splits["validation"]
    by_id = {sample.id: sample for sample in validation}
    return [by_id[prediction.image_id] for prediction in trial.predictions]


def _put_on_record(
    context: SweepContext, host_name: str, number: int, point: Point, start: Start | None
) -> OpenTrial:
    """Record that a host opens a trial, with its current point."""
    sweep, name = context.sweep, trial_id(number)
    context.folder.pull(context.folder.population)
    every = segments.every(context.folder)
    own = [segment for segment in every if segment.trial == name]
    now, lineage = segments.point_at(own, point), segments.lineage(every, name)
    fixed = {"train.seed": sweep.train.seed, "model.base": sweep.model.base}
    recipe, logarithmic = sweep.recipe.with_point(now), sweep.logarithmic_fields()
    trial_record = TrialRecord(folder=context.folder, trial=name)
    trial_record.opened(
        trial_title(number, point),
        with_log10({**fixed, **point}, logarithmic),
        tags={
            "trial.number": str(number),
            "host": host_name,
            "node": os.uname().nodename,
            **({"trial.from": f"{start.trial} rung {start.rung}"} if start else {}),
            **({trial_run.LINEAGE: lineage} if lineage else {}),
        },
        segments=trial_run.segment_runs(own, fixed, logarithmic),
    )
    return OpenTrial(
        name=name,
        record=trial_record,
        recipe=recipe,
        began=start.rung if start else 0,
        first_rung=sweep.first_judged_rung,
        segments=tuple(own),
        moving=mutable_metrics(sweep, now),
    )


def _begin(context: SweepContext, host: "Host", trial: OpenTrial, start: Start | None) -> None:
    """Give the trial a fresh state, and then that of another trial if it begins from one."""
    baseline = trial.untrained = host.admit(trial.name, trial.recipe)
    trial.record.log(tags=_packed(host, trial))
    scored = host.scored_samples(trial.recipe)
    trial.record.log_data(trial.recipe.data, host.data_set(trial.recipe), scored)
    trial.record.log_baseline(baseline, context.sweep.search.objective.metric)
    log_examples(host, trial, baseline.predictions, step=0)
    if start:
        host.evict(trial.name)
        folder = context.folder.start(start.folder)
        context.folder.pull(folder)
        if best.read(folder):  # an adapter; otherwise a whole snapshot
            host.start_from_adapter(trial.name, trial.recipe, folder, start.rung)
        else:
            host.restore(trial.name, trial.recipe, folder)


def _resume(context: SweepContext, host: "Host", trial: OpenTrial, last: RungResult) -> None:
    """Resume the trial after its last rung on record."""
    folder = context.folder.best_adapter(trial.name)
    context.folder.pull(folder)
    trial.best, trial.predictions = best.read(folder), best.read_predictions(folder)
    trial.scores = trial.record.kept_scores()
    if trial.best:  # a record of format 1 does not say which rung it is
        trial.record.log_best(trial.best)
    if not last.is_last:
        snapshot = context.folder.snapshot(trial.name, last.rung)
        context.folder.pull(snapshot)
        host.restore(trial.name, trial.recipe, snapshot)
        trial.record.log(tags=_packed(host, trial))


def _packed(host: "Host", trial: OpenTrial) -> dict[str, str]:
    """Return the tag that says whether the trial trains in a pack, or why it trains alone."""
    reason = host.why_not_packed(trial.recipe)
    return {"trial.packed": f"no: {reason}" if reason else "yes"}
