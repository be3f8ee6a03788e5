"""Schedulers, which stop or continue trials: one file per scheduler and one line in
`sweeps.spec.plugins.SCHEDULERS`.

Each module offers

    make(epochs, grace, reduction, *, ...) -> one of Ray Tune's own
        its keyword-only parameters are what ``schedule.options`` may hold
    STOPS: bool
        whether it stops trials at all
    PAUSES: bool
        whether trials wait for each other: such a scheduler compares only what runs together
    CHANGES: bool
        whether it gives trials other points: such a scheduler gets every rung, also one without
        an objective, and has ``join``, see `sweeps.schedulers.pbt_scheduler.PopulationScheduler`
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sweeps.spec import plugins
from sweeps.trial import trial_id


def make(
    name: str,
    *,
    modes: Sequence[str],
    epochs: int,
    grace: int,
    reduction: int,
    options: Mapping[str, Any] | None = None,
) -> Any:
    """Return Tune's scheduler called `name`, which compares ``objective`` at equal ``rung``.

    `modes` are those of the objectives; with several, asha compares all of them, the others the
    first. Raises TypeError for an unknown option.
    """
    if len(modes) > 1 and name == "asha":
        from sweeps.schedulers.mo_asha import MultiObjectiveAsha

        return MultiObjectiveAsha(modes, epochs, grace, reduction)
    scheduler = plugins.scheduler(name).make(epochs, grace, reduction, **(options or {}))
    scheduler.set_search_properties("objective", modes[0])
    return scheduler


@dataclass(frozen=True)
class PastTrial:
    """The part of an already ended trial that a scheduler reads."""

    trial_id: str


def trial_name(trial: Any) -> str:
    """Return the name of one of Tune's trials."""
    return trial_id(trial.config["number"])


def replay(
    name: str, scheduler: Any, rungs: Iterable[tuple[PastTrial | Any, Mapping[str, Any]]]
) -> None:
    """Give a new scheduler called `name` the rungs of trials, in the order in which they ended.

    Tune does not restore them when a sweep is resumed, and its cutoffs would begin from nothing.
    A scheduler whose trials wait for each other gets nothing: an ended trial waits for none.
    """
    if plugins.scheduler(name).PAUSES:
        return
    added = set()
    for trial, result in rungs:
        if trial.trial_id not in added:
            added.add(trial.trial_id)
            scheduler.on_trial_add(None, trial)
        scheduler.on_trial_result(None, trial, result)
