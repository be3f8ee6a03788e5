"""One rung of one trial, from its training to the record."""

import math
from dataclasses import replace
from typing import TYPE_CHECKING

from sweeps.host.context import SweepContext
from sweeps.host.loop import HostCoroutine
from sweeps.host.opening import lost_ownership
from sweeps.host.trial import OpenTrial
from sweeps.results import best, retention, scores_file
from sweeps.results.best import Best
from sweeps.results.scores_file import Captions, Scores
from sweeps.rung_result import RungResult
from sweeps.tracking.trial_run import final_tags
from workers.metrics.catalog import outputs
from workers.report import Report

if TYPE_CHECKING:
    from workers.host.host import Host


def run_rung(context: SweepContext, host: "Host", trial: OpenTrial) -> HostCoroutine[RungResult]:
    """Train a trial for one rung, keep its state, put the rung on record, and return its result."""
    report, trial.untrained = trial.untrained, None
    if report is None or not trial.judgement(context.sweep, report).for_good:
        host.begin(trial.name)
        report = yield trial.name
        if lost_ownership(context, trial):
            raise RuntimeError(f"{trial.name} goes on on another host")
        if trial.is_judged(report) and trial.may_be_best(report):
            _keep_if_best(context, host, trial, report)
        report = trial.judged(report)
        if report.finished and not report.collapsed:
            report = yield from _with_final_scores(context, host, trial, report)
        elif not report.collapsed:
            _snapshot(context, host, trial, report.rung)
    report = replace(report, metrics={**report.metrics, **trial.moving})
    result = trial.result(context.sweep, report, trial.judgement(context.sweep, report))
    # On record before it is returned: an acknowledged rung is never trained again.
    trial.record.log_rung(result, trial.best)
    trial.is_over = result.is_last
    return result


def _keep_if_best(context: SweepContext, host: "Host", trial: OpenTrial, report: Report) -> None:
    """Keep adapter, captions and scores of a rung that is the trial's best so far."""
    value = report.metrics.get(context.objective, math.nan)
    # The best rung that was cut off by a crash is so again.
    before = trial.best.value if trial.best and trial.best.rung != report.rung else None
    if not context.better(value, before):
        return
    trial.best = Best(value=value, rung=report.rung, metrics=dict(report.metrics))
    trial.predictions = report.predictions
    best.keep(
        context.folder.best_adapter(trial.name),
        trial.best,
        report,
        lambda folder: host.export(trial.name, folder),
    )
    if report.scored:  # None for the best by its loss, of a rung without captions
        captions = Captions(beams=trial.recipe.evaluate.beams, scored=report.scored)
        trial.scores = Scores(references=scores_file.digest(report.predictions), best=captions)
        trial.record.keep_scores(trial.scores)


def _with_final_scores(
    context: SweepContext, host: "Host", trial: OpenTrial, report: Report
) -> HostCoroutine[Report]:
    """Score the best adapter once more, with the final beams and on all images."""
    folder, evaluate = context.folder.best_adapter(trial.name), trial.recipe.evaluate
    if not folder.exists():  # every score was NaN
        return report
    images, rung_images = host.final_samples(trial.recipe), host.scored_samples(trial.recipe)
    same_images = len(images) == len(rung_images)
    if trial.best and same_images and evaluate.final_beams == evaluate.beams:
        # The captions would be those of the best rung, if that one has any.
        known = {name: trial.best.metrics.get(f"val/{name}") for name in outputs(evaluate.metrics)}
        if None not in known.values():
            final = {f"final/{name}": value for name, value in known.items() if value is not None}
            return replace(report, metrics={**report.metrics, **final})
    host.begin_score(trial.name, folder)
    scored = yield trial.name
    trial.predictions = scored.predictions
    if not same_images:
        trial.record.keep_tags(final_tags(images))
    elif trial.scores and evaluate.final_beams != evaluate.beams:
        assert scored.scored, "a host scores the captions that it reports"
        captions = Captions(beams=evaluate.final_beams, scored=scored.scored)
        trial.scores = replace(trial.scores, final=captions)
        trial.record.keep_scores(trial.scores)
    metrics, seconds = {**report.metrics, **scored.metrics}, report.seconds + scored.seconds
    return replace(report, metrics=metrics, seconds=seconds)


def _snapshot(context: SweepContext, host: "Host", trial: OpenTrial, rung: int) -> None:
    """Keep the state after a rung, and remove the oldest of such states."""
    snapshot = context.folder.snapshot(trial.name, rung)
    host.snapshot(trial.name, snapshot)
    context.folder.push(snapshot)
    written = sorted(context.folder.trial(trial.name).glob("rung-*"))
    for old in written[: -retention.KEPT_SNAPSHOTS]:
        context.folder.remove(old)
