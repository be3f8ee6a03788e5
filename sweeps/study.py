"""Optuna's study of a sweep, in a journal file beside the results."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal

from sweeps import samplers
from sweeps.paths import SweepFolder
from sweeps.spec import Sweep
from sweeps.trial_run import Ending
from workers.recipe import Recipe

if TYPE_CHECKING:
    import optuna


def open_study(sweep: Sweep, folder: SweepFolder) -> "optuna.Study":
    """Open the sweep's study, or create it; any Optuna tool reads the journal file."""
    import optuna
    from optuna.storages import JournalStorage
    from optuna.storages.journal import JournalFileBackend

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    return optuna.create_study(
        storage=JournalStorage(JournalFileBackend(str(folder.study))),
        study_name=folder.sweep_id,
        direction=direction(sweep),
        load_if_exists=True,
    )


def ask(
    study: "optuna.Study", sweep: Sweep, again: "optuna.trial.FrozenTrial | None" = None
) -> tuple["optuna.Trial", dict[str, Any]]:
    """Ask for the next trial, or for an unfinished one `again`; return it with its point.

    The sampler is made anew with a seed of its own for each trial, so a sweep that was stopped
    and resumed goes on with the points that it would have had, and never repeats itself.
    """
    import optuna

    sampler = sweep.search.sampler
    number = again.number if again else len(study.get_trials(deepcopy=False))
    seed = None if sampler.seed is None else sampler.seed * 1_000_003 + number
    study.sampler = samplers.make(sampler.name, seed, sampler.options)
    # What an unfinished trial has drawn is stored; only what it had not drawn is drawn now.
    trial = optuna.Trial(study, again._trial_id) if again else study.ask()
    return trial, sweep.search.space.suggest(trial)


def unfinished(study: "optuna.Study") -> "list[optuna.trial.FrozenTrial]":
    """Return the trials that nobody has ended."""
    from optuna.trial import TrialState

    return study.get_trials(deepcopy=False, states=[TrialState.RUNNING])


def ended(study: "optuna.Study") -> "list[optuna.trial.FrozenTrial]":
    """Return the trials that are over, in whatever way."""
    return [trial for trial in study.get_trials(deepcopy=False) if trial.state.is_finished()]


def recipe_of(sweep: Sweep, folder: SweepFolder, trial: str) -> Recipe:
    """Return the recipe of a trial: the sweep's, with the trial's point put in.

    Raises KeyError for a trial that the study does not have.
    """
    for frozen in open_study(sweep, folder).get_trials(deepcopy=False):
        if frozen.user_attrs.get("trial") == trial:
            return sweep.recipe.with_point(frozen.params)
    raise KeyError(f"{folder.study} has no {trial}")


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


def how_ended(trial: "optuna.trial.FrozenTrial") -> tuple[Ending, str | None]:
    """Return what the run of an ended trial says in MLflow, and the guard's reason if it did it."""
    reason = trial.user_attrs.get("guard")
    return ("failed-by-guard", reason) if reason else (ENDINGS[trial.state.name], None)


ENDINGS: Mapping[str, Ending] = {"COMPLETE": "completed", "PRUNED": "stopped", "FAIL": "failed"}
"""Optuna's state of an ended trial -> what its run in MLflow says."""


def direction(sweep: Sweep) -> Literal["maximize", "minimize"]:
    """Return Optuna's word for the objective's mode."""
    return "maximize" if sweep.search.objective.mode == "max" else "minimize"


def _best_value(trial: "optuna.trial.FrozenTrial", direction: str) -> float | None:
    rungs = [value for value in trial.intermediate_values.values() if value == value]  # no NaN
    if not rungs:
        return None
    return max(rungs) if direction == "maximize" else min(rungs)
