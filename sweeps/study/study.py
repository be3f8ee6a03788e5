"""Optuna's study of a sweep: its trials, how they ended, and what they teach."""

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

from sweeps.results import best, segments
from sweeps.results.folder import SweepFolder
from sweeps.spec.load import Sweep
from sweeps.study.compatibility import check_search, store_search
from sweeps.study.storage import open_storage, repair_storage
from sweeps.trial import Ending
from workers.recipe import Recipe

if TYPE_CHECKING:
    import optuna
    from optuna.trial import FrozenTrial, Trial, TrialState

EXHAUSTED = "exhausted"
"""User attribute of a study: whether every point of the space was tried."""
TRIAL = "trial"
"""User attribute: name of a trial that was given a point."""
GIVEN = "given"
"""User attribute: the part of a point that was enqueued, not sampled."""
REFUSED = "refused"
"""User attribute: why a point was rejected."""
ADDED = "added"
"""User attribute: the trial was requested while the sweep ran, beyond ``search.trials``."""
START = "start"
"""User attribute: the state of another trial from which this one begins."""
ERROR = "error"
"""User attribute: why a trial failed."""
BESTS = "bests"
"""User attribute of a trial with several objectives: their values at its best rung."""
GUARDED = "guard"
"""User attribute and constraint: why the guard stopped a trial."""
SEGMENTS = "segments"
"""User attribute: the later points of a trial that continued with others, see
`sweeps.results.segments`."""
FINISHED = "finished"
"""User attribute: whether such a trial completed all its epochs."""
ORIGIN = "from"
"""User attribute: sweep and trial from which a warm start took it."""

_ENDINGS: Mapping[str, Ending] = {"COMPLETE": "completed", "PRUNED": "stopped", "FAIL": "failed"}
"""Optuna's state of an ended trial -> the state of its run in MLflow."""


def open_study(sweep: Sweep, folder: SweepFolder) -> "optuna.Study":
    """Open the sweep's study, or create it; any Optuna tool reads it too.

    Raises ValueError for a storage that cannot be used and for a study of another search.
    """
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    place = open_storage(sweep.search.storage, folder)
    # Not create_study(load_if_exists=True): it writes a line even when it only loads.
    name, wanted = folder.sweep_id, directions(sweep)
    if name in optuna.get_all_study_names(place):
        study = optuna.load_study(study_name=name, storage=place)
    else:
        study = optuna.create_study(storage=place, study_name=name, directions=wanted)
    check_search(study, sweep, wanted)
    return study


def prepare_study(
    sweep: Sweep, folder: SweepFolder, *, resuming: bool
) -> "tuple[optuna.Study, list[str]]":
    """Open the study for the driver, after removing a line that a crash truncated.

    Returns the study, and a line for each range that is wider than it was.
    Raises ValueError as `open_study` does, and for a new sweep whose name a shared storage has.
    """
    repair_storage(sweep.search.storage, folder)
    study = open_study(sweep, folder)
    if study.get_trials(deepcopy=False) and not resuming:
        raise ValueError(
            f"search.storage: {sweep.search.storage} already has a study {study.study_name}, of "
            "another results folder; give the sweep another name"
        )
    if study.user_attrs.get(EXHAUSTED):  # with other rules there may be more points
        study.set_user_attr(EXHAUSTED, False)
    return study, store_search(study, sweep)


def push(sweep: Sweep, folder: SweepFolder) -> None:
    """Upload the study to the results' store, before anything acts upon it.

    Otherwise the store's data of a trial could be taken for those of another with its number.
    """
    if sweep.search.storage is None:
        folder.push(folder.study)


def enqueue(
    study: "optuna.Study",
    point: Mapping[str, Any],
    *,
    again: bool = False,
    attributes: Mapping[str, Any] | None = None,
) -> None:
    """Make a point, or a part of one, the next one; `again` also if the study already has it."""
    every = {**(attributes or {}), GIVEN: dict(point)}
    study.enqueue_trial(dict(point), user_attrs=every, skip_if_exists=not again)


def planned_trials(sweep: Sweep, folder: SweepFolder) -> int:
    """Return how many trials the sweep will have, added ones included.

    Once every point of the space was tried, it is the number of trials that exist.
    """
    study = open_study(sweep, folder)
    if study.user_attrs.get(EXHAUSTED):
        return len(own_trials(study))
    return sweep.search.trials + added_trials(study)


def added_trials(study: "optuna.Study") -> int:
    """Return how many trials were requested beyond ``search.trials``."""
    trials = study.get_trials(deepcopy=False)
    return sum(ADDED in frozen.user_attrs and REFUSED not in frozen.user_attrs for frozen in trials)


def tell(
    study: "optuna.Study",
    trial: "Trial",
    state: "TrialState",
    error: str | None = None,
    value: float | Sequence[float] | None = None,
) -> None:
    """Report to the study how a trial ended, why it failed, and the value of each objective."""
    from optuna.samplers import RandomSampler

    # After a trial some samplers end the study, or warn of constraints: not wanted here.
    study.sampler = RandomSampler()
    if error is not None:
        trial.set_user_attr(ERROR, error)
    study.tell(trial, value, state=state)


def own_trials(study: "optuna.Study") -> "dict[str, FrozenTrial]":
    """Return the sweep's trials by name, in the order of their numbers.

    Rejected points and trials of earlier sweeps are left out.
    """
    trials = study.get_trials(deepcopy=False)
    return {frozen.user_attrs[TRIAL]: frozen for frozen in trials if TRIAL in frozen.user_attrs}


def endings(study: "optuna.Study") -> dict[str, tuple[Ending, str | None]]:
    """Return how each ended trial ended, as its run in MLflow has it, and why if it failed."""
    found: dict[str, tuple[Ending, str | None]] = {}
    for name, frozen in own_trials(study).items():
        if not frozen.state.is_finished():
            continue
        if GUARDED in frozen.user_attrs:
            found[name] = "failed-by-guard", frozen.user_attrs[GUARDED]
        elif FINISHED in frozen.user_attrs:  # PRUNED, as it left its own point
            found[name] = "completed", None
        elif ERROR in frozen.user_attrs:  # also one that did not fit in memory, which is PRUNED
            found[name] = "failed", frozen.user_attrs[ERROR]
        else:
            found[name] = _ENDINGS[frozen.state.name], None
    return found


def recipe_of(sweep: Sweep, folder: SweepFolder, trial: str) -> Recipe:
    """Return the recipe of a trial's best adapter: the sweep's with the trial's point.

    A trial that continued with other points has the one with which its best rung was trained.
    Raises KeyError for a trial that the study does not have.
    """
    own = own_trials(open_study(sweep, folder))
    if trial not in own:
        raise KeyError(f"the study of {folder.sweep_id} has no {trial}")
    kept = best.read(folder.best_adapter(trial))
    rung = kept.rung if kept else math.inf
    point = segments.point_at(segments.of(folder, trial), own[trial].params, rung)
    return sweep.recipe.with_point(point)


def importances(sweep: Sweep, folder: SweepFolder) -> dict[str, float]:
    """Return how much of the scores' variation each field explains (fANOVA), largest first.

    Counts the best value of the first objective of every trial with a score: Optuna alone would
    leave out the stopped trials, and with them the bad points. Empty with too few trials.
    """
    import optuna

    study, direction = open_study(sweep, folder), directions(sweep)[0]
    scored = optuna.create_study(direction=direction)
    for trial in study.get_trials(deepcopy=False):
        values = [*trial.intermediate_values.values(), *trial.user_attrs.get(BESTS, [])[:1]]
        if values := [value for value in values if not math.isnan(value)]:
            point: dict[str, Any] = {"params": trial.params, "distributions": trial.distributions}
            value = max(values) if direction == "maximize" else min(values)
            scored.add_trial(optuna.trial.create_trial(**point, value=value))
    evaluator = optuna.importance.FanovaImportanceEvaluator(seed=0)
    try:
        return optuna.importance.get_param_importances(scored, evaluator=evaluator)
    except (ValueError, RuntimeError):  # fewer than two trials, or no variation
        return {}


def directions(sweep: Sweep) -> list[Literal["maximize", "minimize"]]:
    """Return Optuna's names of the objectives' modes."""
    modes = [objective.mode for objective in sweep.search.objectives]
    return ["maximize" if mode == "max" else "minimize" for mode in modes]
