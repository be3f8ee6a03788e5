"""Schedulers, which stop or continue trials: one file and one line here per scheduler.

Each module offers ``make(epochs, grace, reduction)`` and returns one of Ray Tune's own.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import Any

MODULES = {
    "asha": "sweeps.schedulers.asha",
    "fifo": "sweeps.schedulers.fifo",
}
NAMES = tuple(MODULES)

SEVERAL = ("asha", "fifo")
"""Those that can work with several objectives."""


def make(
    name: str,
    *,
    mode: str,
    further_modes: Sequence[str] = (),
    epochs: int,
    grace: int,
    reduction: float,
) -> Any:
    """Return Tune's scheduler called `name`, which compares ``objective`` at equal ``rung``.

    With `further_modes`, of the objectives after the first, asha compares all of them.
    """
    if further_modes and name == "asha":
        from sweeps.schedulers.mo_asha import MultiObjectiveAsha

        return MultiObjectiveAsha((mode, *further_modes), epochs, grace, reduction)
    scheduler = import_module(MODULES[name]).make(epochs, grace, reduction)
    scheduler.set_search_properties("objective", mode)
    return scheduler


@dataclass(frozen=True)
class _PastTrial:
    """All that a scheduler reads of a trial."""

    trial_id: str


def remember(scheduler: Any, rungs: Iterable[tuple[str, Mapping[str, Any]]]) -> None:
    """Show a new scheduler the rungs of trials that are over, in the order in which they ended.

    Tune itself forgets them when a sweep is resumed, and its cutoffs would begin from nothing.
    """
    shown: dict[str, _PastTrial] = {}
    for name, result in rungs:
        if name not in shown:
            shown[name] = _PastTrial(name)
            scheduler.on_trial_add(None, shown[name])
        scheduler.on_trial_result(None, shown[name], result)
