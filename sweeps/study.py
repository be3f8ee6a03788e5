"""Optuna's study of a sweep: what was drawn, how it ended, and what that teaches."""

import secrets
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal

from sweeps import storage
from sweeps.paths import SweepFolder
from sweeps.same_study import refuse_another, remember, widened
from sweeps.spec import Sweep
from sweeps.trial_run import Ending
from workers.recipe import Recipe

if TYPE_CHECKING:
    import optuna
    from optuna.trial import FrozenTrial, Trial, TrialState

TRIAL = "trial"
"""User attribute: name of a trial that was given out."""
GIVEN = "given"
"""User attribute: the part of a point that was not drawn."""
REFUSED = "refused"
"""User attribute: why a drawn point was not given out."""
ERROR = "error"
"""User attribute: why a trial failed."""
GUARDED = "guard"
"""User attribute: why the guard stopped a trial."""
ORIGIN = "from"
"""User attribute: sweep and trial from which a warm start took it."""


def open_study(sweep: Sweep, folder: SweepFolder) -> "optuna.Study":
    """Open the sweep's study, or create it; any Optuna tool reads it too.

    Raises ValueError for a storage that cannot be used and for a study of another search.
    """
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    place = storage.opened(sweep.search.storage, folder)
    # Not create_study(load_if_exists=True): it writes a line even when it only loads.
    if folder.sweep_id in optuna.get_all_study_names(place):
        study = optuna.load_study(study_name=folder.sweep_id, storage=place)
    else:
        study = optuna.create_study(
            storage=place, study_name=folder.sweep_id, direction=direction(sweep)
        )
    refuse_another(study, sweep, direction(sweep))
    return study


def prepare_study(
    sweep: Sweep, folder: SweepFolder, *, resuming: bool
) -> "tuple[optuna.Study, list[str]]":
    """Open the study for the driver: a line cut off by a crash is mended first.

    Returns the study, and lines that say which ranges are wider than they were.
    Raises ValueError as `open_study` does, and for a new sweep whose name a shared storage has.
    """
    storage.heal(sweep.search.storage, folder)
    study = open_study(sweep, folder)
    if study.get_trials(deepcopy=False) and not resuming:
        raise ValueError(
            f"search.storage: {sweep.search.storage} has a study {study.study_name} already, of "
            "another folder of results; give the sweep another name"
        )
    wider = widened(study, sweep)
    remember(study, sweep)
    return study, wider


def sweep_seed(study: "optuna.Study", sweep: Sweep) -> int:
    """Return the seed of all draws; a sweep without one gets one, which its study keeps."""
    if sweep.search.sampler.seed is not None:
        return sweep.search.sampler.seed
    if "seed" not in study.user_attrs:
        study.set_user_attr("seed", secrets.randbelow(2**31))
    return int(study.user_attrs["seed"])


def enqueue(study: "optuna.Study", point: Mapping[str, Any], *, again: bool = False) -> None:
    """Make a point, or a part of one, the next draw; `again` also if the study had it already."""
    study.enqueue_trial(dict(point), user_attrs={GIVEN: dict(point)}, skip_if_exists=not again)


def tell(
    study: "optuna.Study",
    trial: "Trial",
    state: "TrialState",
    error: str | None = None,
    value: float | None = None,
) -> None:
    """Tell the study how a trial ended, and why it failed."""
    from optuna.samplers import RandomSampler

    # What samplers do after a trial is not for us: to end the study, to warn of constraints.
    study.sampler = RandomSampler()
    if error is not None:
        trial.set_user_attr(ERROR, error)
    study.tell(trial, value, state=state)


def own_trials(study: "optuna.Study") -> "dict[str, FrozenTrial]":
    """Return the trials that were given out, by name, in the order of their numbers.

    Refused draws and trials of earlier sweeps are left out.
    """
    trials = study.get_trials(deepcopy=False)
    return {frozen.user_attrs[TRIAL]: frozen for frozen in trials if TRIAL in frozen.user_attrs}


def cut_off(study: "optuna.Study") -> "list[FrozenTrial]":
    """Return the draws that a driver neither gave out nor refused before it died."""
    from optuna.trial import TrialState

    running = study.get_trials(deepcopy=False, states=[TrialState.RUNNING])
    return [frozen for frozen in running if TRIAL not in frozen.user_attrs]


def ended(study: "optuna.Study") -> dict[str, tuple[Ending, str | None]]:
    """Return how each trial that is over ended, in whatever way, and why."""
    own = own_trials(study)
    return {name: how_ended(frozen) for name, frozen in own.items() if frozen.state.is_finished()}


def how_ended(frozen: "FrozenTrial") -> tuple[Ending, str | None]:
    """Return what the run of an ended trial says in MLflow, and why it failed if it did."""
    if GUARDED in frozen.user_attrs:
        return "failed-by-guard", frozen.user_attrs[GUARDED]
    if ERROR in frozen.user_attrs:  # also what did not fit in memory, which is PRUNED
        return "failed", frozen.user_attrs[ERROR]
    return _ENDINGS[frozen.state.name], None


_ENDINGS: Mapping[str, Ending] = {"COMPLETE": "completed", "PRUNED": "stopped", "FAIL": "failed"}
"""Optuna's state of an ended trial -> what its run in MLflow says."""


def recipe_of(sweep: Sweep, folder: SweepFolder, trial: str) -> Recipe:
    """Return the recipe of a trial: the sweep's, with the trial's point put in.

    Raises KeyError for a trial that the study does not have.
    """
    own = own_trials(open_study(sweep, folder))
    if trial not in own:
        raise KeyError(f"the study of {folder.sweep_id} has no {trial}")
    return sweep.recipe.with_point(own[trial].params)


def importances(sweep: Sweep, folder: SweepFolder) -> dict[str, float]:
    """Return how much of the scores' variation each field explains (fANOVA), largest first.

    Over all trials with a score, by their best one: Optuna alone would leave out the stopped
    ones, and with them the points that are bad. Empty when there is too little to tell.
    """
    import optuna

    study = open_study(sweep, folder)
    scored = optuna.create_study(direction=direction(sweep))
    scored.add_trials(
        optuna.trial.create_trial(
            params=trial.params, distributions=trial.distributions, value=value
        )
        for trial in study.get_trials(deepcopy=False)
        if (value := _best_value(trial, direction(sweep))) is not None
    )
    evaluator = optuna.importance.FanovaImportanceEvaluator(seed=0)
    try:
        return optuna.importance.get_param_importances(scored, evaluator=evaluator)
    except (ValueError, RuntimeError):  # fewer than two trials, or no variation
        return {}


def direction(sweep: Sweep) -> Literal["maximize", "minimize"]:
    """Return Optuna's word for the objective's mode."""
    return "maximize" if sweep.search.objective.mode == "max" else "minimize"


def _best_value(trial: "FrozenTrial", direction: str) -> float | None:
    rungs = [value for value in trial.intermediate_values.values() if value == value]  # no NaN
    if not rungs:
        return None
    return max(rungs) if direction == "maximize" else min(rungs)
