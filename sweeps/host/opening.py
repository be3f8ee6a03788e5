"""How a trial gets its slot: fresh, from another trial's state, or after its rungs on record."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from sweeps.host import captions
from sweeps.host.context import SweepContext
from sweeps.host.points import opened, refuse_lost
from sweeps.host.trial import OpenTrial, reported
from sweeps.results import best, record
from sweeps.results.record import Result
from sweeps.storage import copies
from sweeps.trial import VIOLATES, Point, Start

if TYPE_CHECKING:
    from workers.host.host import Host


def open_trial(
    context: SweepContext, host: "Host", host_name: str, number: int, point: Point,
    start: Start | None,
) -> OpenTrial:  # fmt: skip
    """Give a trial a slot; it goes on after the rungs on record, else it begins from `start`."""
    trial = opened(context, host_name, number, point, start)
    past = record.usable(context.folder, trial.name)
    refuse_lost(trial, past)
    if past:
        _go_on(context, host, trial, past)
    else:
        _begin(context, host, trial)
        if start:
            _begin_from(context, host, trial, start)
    return trial


def take_over(context: SweepContext, name: str, opening: str) -> None:
    """Let no other host report this trial any more."""
    word = context.folder.opening(name)
    word.parent.mkdir(parents=True, exist_ok=True)
    word.write_text(opening)
    copies.push(word)


def is_given_up(context: SweepContext, trial: OpenTrial) -> bool:
    """Tell whether the trial has gone on elsewhere while this host was away.

    A node that only its network cut off goes on training a trial that others have by now.
    """
    copies.pull(context.folder.opening(trial.name))
    return context.folder.opening(trial.name).read_text() != trial.opening


def _begin(context: SweepContext, host: "Host", trial: OpenTrial) -> None:
    baseline = trial.untrained = host.admit(trial.name, trial.recipe)
    trial.run.packed(host.why_not_packed(trial.recipe))
    scored = host.scored_samples(trial.recipe)
    trial.run.inputs(trial.recipe.data, host.data_set(trial.recipe), scored)
    trial.run.report(baseline, context.sweep.search.objective.metric)
    captions.log_examples(host, trial, baseline.predictions, step=0)


def _begin_from(context: SweepContext, host: "Host", trial: OpenTrial, start: Start) -> None:
    """Put the state of another trial in place of the fresh one."""
    host.evict(trial.name)
    folder = context.folder.start(start.folder)
    copies.pull(folder)
    if best.read(folder):  # an adapter; otherwise a whole snapshot
        host.start_from_adapter(trial.name, trial.recipe, folder, start.rung)
    else:
        host.restore(trial.name, trial.recipe, folder)


def _go_on(context: SweepContext, host: "Host", trial: OpenTrial, past: Sequence[Result]) -> None:
    """Take the trial up after its last rung on record; MLflow hears what it has missed."""
    folder = context.folder.best_adapter(trial.name)
    copies.pull(folder)
    trial.best, trial.predictions = best.read(folder), best.read_predictions(folder)
    trial.scores = trial.run.kept_scores()
    if trial.best:
        trial.run.best(trial.best.metrics, trial.best.rung)
    for result in past:
        trial.track(reported(result), context.sweep.search.objective.metric)
    for former in trial.segments[:-1]:
        former.run.end("stopped")
    last = past[-1]
    trial.mark(context.sweep, last.get(VIOLATES))
    if not record.is_over(last):
        snapshot = context.folder.snapshot(trial.name, last["rung"])
        copies.pull(snapshot)
        host.restore(trial.name, trial.recipe, snapshot)
        trial.run.packed(host.why_not_packed(trial.recipe))
