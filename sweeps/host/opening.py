"""How a trial gets its slot: fresh, from another trial's state, or after its rungs on record."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from sweeps.host import captions
from sweeps.host.context import SweepContext
from sweeps.host.points import opened, refuse_lost
from sweeps.host.trial import OpenTrial
from sweeps.results import best, record
from sweeps.rung_result import RungResult
from sweeps.storage import copies
from sweeps.trial import Point, Start, trial_id

if TYPE_CHECKING:
    from workers.host.host import Host


def open_trial(
    context: SweepContext, host: "Host", host_name: str, number: int, point: Point,
    start: Start | None,
) -> OpenTrial:  # fmt: skip
    """Give a trial a slot; it goes on after the rungs on record, else it begins from `start`."""
    past = record.usable(context.folder, trial_id(number))
    trial = opened(context, host_name, number, point, start)
    refuse_lost(trial, past)
    if past:
        _resume(context, host, trial, past)
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
    trial.record.log(tags=_packed(host, trial))
    scored = host.scored_samples(trial.recipe)
    trial.record.log_data(trial.recipe.data, host.data_set(trial.recipe), scored)
    trial.record.log_baseline(baseline, context.sweep.search.objective.metric)
    captions.log_examples(host, trial, baseline.predictions, step=0)


def _begin_from(context: SweepContext, host: "Host", trial: OpenTrial, start: Start) -> None:
    """Put the state of another trial in place of the fresh one."""
    host.evict(trial.name)
    folder = context.folder.start(start.folder)
    copies.pull(folder)
    if best.read(folder):  # an adapter; otherwise a whole snapshot
        host.graft(trial.name, trial.recipe, folder, start.rung)
    else:
        host.restore(trial.name, trial.recipe, folder)


def _resume(
    context: SweepContext, host: "Host", trial: OpenTrial, past: Sequence[RungResult]
) -> None:
    """Resume the trial after its last rung on record."""
    folder = context.folder.best_adapter(trial.name)
    copies.pull(folder)
    trial.best, trial.predictions = best.read(folder), best.read_predictions(folder)
    trial.scores = trial.record.kept_scores()
    if trial.best:  # a record of format 1 does not say which rung it is
        trial.record.log_best(trial.best)
    last = past[-1]
    if not last.is_last:
        snapshot = context.folder.snapshot(trial.name, last.rung)
        copies.pull(snapshot)
        host.restore(trial.name, trial.recipe, snapshot)
        trial.record.log(tags=_packed(host, trial))


def _packed(host: "Host", trial: OpenTrial) -> dict[str, str]:
    """Return the tag that says whether the trial trains in a pack, or why it trains alone."""
    reason_alone = host.reason_alone(trial.recipe)
    return {"trial.packed": f"no: {reason_alone}" if reason_alone else "yes"}
