"""One rung of one trial, from its training to the record."""

import math
from dataclasses import replace
from typing import TYPE_CHECKING

from sweeps.host.context import SweepContext
from sweeps.host.loop import Course
from sweeps.host.opening import is_given_up
from sweeps.host.trial import OpenTrial
from sweeps.results import best, retention, scores_file
from sweeps.results.best import Best
from sweeps.results.scores_file import Captions, Scores
from sweeps.rung_result import RungResult
from sweeps.storage import copies
from sweeps.tracking.trial_run import final_tags
from workers.metrics.catalog import outputs
from workers.report import Report

if TYPE_CHECKING:
    from workers.host.host import Host


def course(context: SweepContext, host: "Host", trial: OpenTrial) -> Course[RungResult]:
    """Train a trial for one rung, keep what is to be kept, and return its result."""
    untrained, trial.untrained = trial.untrained, None
    if untrained and trial.judgement(context.sweep, untrained).for_good:
        return _tell(context, trial, untrained)
    host.begin(trial.name)
    report = yield trial.name
    if is_given_up(context, trial):
        raise RuntimeError(f"{trial.name} goes on on another host")
    value = report.metrics.get(context.objective, math.nan)
    may_be = trial.is_judged(report) and trial.may_be_best(report)
    if may_be and _is_best(context, trial, report.rung, value):
        _keep_best(context, host, trial, value, report)
    report = trial.judged(report)
    if report.finished and not report.collapsed:
        report = yield from _with_final_scores(context, host, trial, report)
    elif not report.collapsed:
        _snapshot(context, host, trial, report.rung)
    return _tell(context, trial, report)


def _tell(context: SweepContext, trial: OpenTrial, report: Report) -> RungResult:
    """Put a rung on record, and return its result."""
    report = replace(report, metrics={**report.metrics, **trial.moving})
    judgement = trial.judgement(context.sweep, report)
    result = trial.result(context.sweep, report, judgement)
    # On record before anybody hears of it: what is heard is never trained again.
    trial.record.log_rung(result, trial.best)
    trial.is_over = result.is_last
    return result


def _is_best(context: SweepContext, trial: OpenTrial, rung: int, value: float) -> bool:
    """Say whether a rung is the trial's best; one that was cut off by a crash is so again."""
    if trial.best is None or trial.best.rung == rung:
        return context.better(value, None)
    return context.better(value, trial.best.value)


def _keep_best(
    context: SweepContext, host: "Host", trial: OpenTrial, value: float, report: Report
) -> None:
    trial.best = Best(value=value, rung=report.rung, metrics=dict(report.metrics))
    trial.predictions = report.predictions
    best.keep(
        context.folder.best_adapter(trial.name),
        trial.best,
        report,
        lambda folder: host.export(trial.name, folder),
    )
    if report.scored is None:  # the best by its loss, of a rung without captions
        return
    scored = _captions(report, trial.recipe.evaluate.beams)
    trial.scores = Scores(references=scores_file.digest(report.predictions), best=scored)
    trial.record.keep_scores(trial.scores)


def _with_final_scores(
    context: SweepContext, host: "Host", trial: OpenTrial, report: Report
) -> Course[Report]:
    folder = context.folder.best_adapter(trial.name)
    if not folder.exists():  # every score was NaN
        return report
    known = _written_before(host, trial)
    if known is not None:
        return replace(report, metrics={**report.metrics, **known})
    host.begin_score(trial.name, folder)
    final = yield trial.name
    trial.predictions = final.predictions
    evaluate = trial.recipe.evaluate
    images = host.final_samples(trial.recipe)
    if len(images) != len(host.scored_samples(trial.recipe)):
        trial.record.keep_tags(final_tags(images))
    elif trial.scores and evaluate.final_beams != evaluate.beams:
        scored = _captions(final, evaluate.final_beams)
        trial.scores = replace(trial.scores, final=scored)
        trial.record.keep_scores(trial.scores)
    return replace(
        report,
        metrics={**report.metrics, **final.metrics},
        seconds=report.seconds + final.seconds,
    )


def _written_before(host: "Host", trial: OpenTrial) -> dict[str, float] | None:
    """Return the final scores if the captions of the best rung are those that would be written.

    They are where only the images and the beams could have told the two apart.
    """
    evaluate = trial.recipe.evaluate
    images, rungs = host.final_samples(trial.recipe), host.scored_samples(trial.recipe)
    if trial.best is None or (len(images), evaluate.final_beams) != (len(rungs), evaluate.beams):
        return None
    scores = {name: trial.best.metrics.get(f"val/{name}") for name in outputs(evaluate.metrics)}
    found = {f"final/{name}": value for name, value in scores.items() if value is not None}
    return found if len(found) == len(scores) else None  # else the best rung has no captions


def _snapshot(context: SweepContext, host: "Host", trial: OpenTrial, rung: int) -> None:
    snapshot = context.folder.snapshot(trial.name, rung)
    host.snapshot(trial.name, snapshot)
    copies.push(snapshot)
    written = sorted(context.folder.trial(trial.name).glob("rung-*"))
    for old in written[: -retention.KEPT_SNAPSHOTS]:
        copies.drop(old)


def _captions(report: Report, beams: int) -> Captions:
    assert report.scored, "a host scores the captions that it reports"
    return Captions(beams=beams, scored=report.scored)
