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
        whether it gives trials other points: such a scheduler is shown every rung, also one without
        an objective, and takes the sweep's `sweeps.schedulers.population.Population` by ``join``
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sweeps.spec import plugins


def make(
    name: str,
    *,
    mode: str,
    further_modes: Sequence[str] = (),
    epochs: int,
    grace: int,
    reduction: int,
    options: Mapping[str, Any] | None = None,
) -> Any:
    """Return Tune's scheduler called `name`, which compares ``objective`` at equal ``rung``.

    With `further_modes`, of the objectives after the first, asha compares all of them.
    Raises TypeError for an option that it has not.
    """
    if further_modes and name == "asha":
        from sweeps.schedulers.mo_asha import MultiObjectiveAsha

        return MultiObjectiveAsha((mode, *further_modes), epochs, grace, reduction)
    scheduler = plugins.scheduler(name).make(epochs, grace, reduction, **(options or {}))
    scheduler.set_search_properties("objective", mode)
    return scheduler


@dataclass(frozen=True)
class PastTrial:
    """All that a scheduler reads of a trial that ended before it was made."""

    trial_id: str


def remember(
    name: str, scheduler: Any, rungs: Iterable[tuple[PastTrial | Any, Mapping[str, Any]]]
) -> None:
    """Show a new scheduler called `name` the rungs of trials, in the order in which they ended.

    Tune itself forgets them when a sweep is resumed, and its cutoffs would begin from nothing.
    A scheduler whose trials wait for each other is shown nothing: who is over waits for nobody.
    """
    if plugins.scheduler(name).PAUSES:
        return
    added = set()
    for trial, result in rungs:
        if trial.trial_id not in added:
            added.add(trial.trial_id)
            scheduler.on_trial_add(None, trial)
        scheduler.on_trial_result(None, trial, result)
