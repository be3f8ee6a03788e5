"""Optuna's study of a sweep: what was drawn, how it ended, and what that teaches."""

import math
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, Literal

from sweeps.results import best, segments
from sweeps.results.folder import SweepFolder
from sweeps.spec.load import Sweep
from sweeps.study import storage
from sweeps.study.compatibility import refuse_another, remember, widened
from sweeps.trial import Ending, Start
from workers.recipe import Recipe

if TYPE_CHECKING:
    import optuna
    from optuna.trial import FrozenTrial, Trial, TrialState

EXHAUSTED = "exhausted"
"""User attribute of a study: whether every point of the space was tried."""
TRIAL = "trial"
"""User attribute: name of a trial that was given out."""
GIVEN = "given"
"""User attribute: the part of a point that was not drawn."""
REFUSED = "refused"
"""User attribute: why a drawn point was not given out."""
ADDED = "added"
"""User attribute: somebody asked for this trial while the sweep ran, beyond ``search.trials``."""
START = "start"
"""User attribute: the state of another trial from which this one begins."""
ERROR = "error"
"""User attribute: why a trial failed."""
BESTS = "bests"
"""User attribute of a trial with several objectives: their values at its best rung."""
GUARDED = "guard"
"""User attribute and constraint: why the guard stopped a trial."""
SEGMENTS = "segments"
"""User attribute: points with which a trial went on that had been given up, see
`sweeps.results.segments`."""
FINISHED = "finished"
"""User attribute: whether such a trial did all its epochs."""
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
            storage=place, study_name=folder.sweep_id, directions=directions(sweep)
        )
    refuse_another(study, sweep, directions(sweep))
    return study


def prepare_study(
    sweep: Sweep, folder: SweepFolder, *, resuming: bool
) -> "tuple[optuna.Study, list[str]]":
    """Open the study for the driver: a line cut off by a crash is repaired first.

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
    if study.user_attrs.get(EXHAUSTED):  # with other rules there may be more points
        study.set_user_attr(EXHAUSTED, False)
    wider = widened(study, sweep)
    remember(study, sweep)
    return study, wider


def push(sweep: Sweep, folder: SweepFolder) -> None:
    """Send the study to where results live, before anybody acts upon it.

    What a store has of a trial would otherwise be taken for that of another one with its number.
    """
    if sweep.search.storage is None:
        folder.push(folder.study)


def sweep_seed(study: "optuna.Study", sweep: Sweep) -> int:
    """Return the seed of all draws; a sweep without one gets one, which its study keeps."""
    if sweep.search.sampler.seed is not None:
        return sweep.search.sampler.seed
    if "seed" not in study.user_attrs:
        study.set_user_attr("seed", secrets.randbelow(2**31))
    return int(study.user_attrs["seed"])


def enqueue(
    study: "optuna.Study",
    point: Mapping[str, Any],
    *,
    again: bool = False,
    attributes: Mapping[str, Any] | None = None,
) -> None:
    """Make a point, or a part of one, the next draw; `again` also if the study had it already."""
    every = {**(attributes or {}), GIVEN: dict(point)}
    study.enqueue_trial(dict(point), user_attrs=every, skip_if_exists=not again)


def add(study: "optuna.Study", point: Mapping[str, Any], start: Start | None) -> None:
    """Make a point the next draw, of a trial that comes on top of ``search.trials``."""
    attributes = {GIVEN: dict(point), ADDED: True, START: asdict(start) if start else None}
    study.enqueue_trial(dict(point), user_attrs=attributes)


def wanted(sweep: Sweep, folder: SweepFolder) -> int:
    """Return how many trials the sweep is to run, with those that were asked for.

    Not more than there are once every point of the space was tried.
    """
    study = open_study(sweep, folder)
    if study.user_attrs.get(EXHAUSTED):
        return len(own_trials(study))
    return sweep.search.trials + added(study)


def added(study: "optuna.Study") -> int:
    """Return how many trials were asked for on top of ``search.trials``."""
    trials = study.get_trials(deepcopy=False)
    return sum(ADDED in frozen.user_attrs and REFUSED not in frozen.user_attrs for frozen in trials)


def tell(
    study: "optuna.Study",
    trial: "Trial",
    state: "TrialState",
    error: str | None = None,
    value: float | Sequence[float] | None = None,
) -> None:
    """Tell the study how a trial ended, and why it failed.

    `value` is the objective, or the values of several.
    """
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
    if FINISHED in frozen.user_attrs:  # PRUNED, as its own point was given up
        return "completed", None
    if ERROR in frozen.user_attrs:  # also what did not fit in memory, which is PRUNED
        return "failed", frozen.user_attrs[ERROR]
    return _ENDINGS[frozen.state.name], None


_ENDINGS: Mapping[str, Ending] = {"COMPLETE": "completed", "PRUNED": "stopped", "FAIL": "failed"}
"""Optuna's state of an ended trial -> what its run in MLflow says."""


def recipe_of(sweep: Sweep, folder: SweepFolder, trial: str) -> Recipe:
    """Return the recipe of a trial's best adapter: the sweep's, with the trial's point put in.

    Of a trial that went on with other points it is the one that its best rung was trained with.
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

    Of several objectives it is the first one's. Over all trials with a score, by their best one:
    Optuna alone would leave out the stopped ones, and with them the points that are bad. Empty
    when there is too little to tell.
    """
    import optuna

    study = open_study(sweep, folder)
    scored = optuna.create_study(direction=directions(sweep)[0])
    scored.add_trials(
        optuna.trial.create_trial(
            params=trial.params, distributions=trial.distributions, value=value
        )
        for trial in study.get_trials(deepcopy=False)
        if (value := _best_value(trial, directions(sweep)[0])) is not None
    )
    evaluator = optuna.importance.FanovaImportanceEvaluator(seed=0)
    try:
        return optuna.importance.get_param_importances(scored, evaluator=evaluator)
    except (ValueError, RuntimeError):  # fewer than two trials, or no variation
        return {}


def directions(sweep: Sweep) -> list[Literal["maximize", "minimize"]]:
    """Return Optuna's words for the objectives' modes."""
    modes = [objective.mode for objective in sweep.search.objectives]
    return ["maximize" if mode == "max" else "minimize" for mode in modes]


def _best_value(trial: "FrozenTrial", direction: str) -> float | None:
    leading: list[float] = trial.user_attrs.get(BESTS, [])[:1]
    values = [*trial.intermediate_values.values(), *leading]
    rungs = [value for value in values if value == value]  # no NaN
    if not rungs:
        return None
    return max(rungs) if direction == "maximize" else min(rungs)
