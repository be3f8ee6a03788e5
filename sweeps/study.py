"""Optuna's study of a sweep, in a journal file beside the results."""

from typing import TYPE_CHECKING

from sweeps import samplers
from sweeps.paths import SweepFolder
from sweeps.spec import Sweep
from workers.recipe import Recipe

if TYPE_CHECKING:
    import optuna


def open_study(sweep: Sweep, folder: SweepFolder) -> "optuna.Study":
    """Open the sweep's study, or create it; any Optuna tool reads the journal file."""
    import optuna
    from optuna.storages import JournalStorage
    from optuna.storages.journal import JournalFileBackend

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    sampler = sweep.search.sampler
    return optuna.create_study(
        storage=JournalStorage(JournalFileBackend(str(folder.study))),
        study_name=folder.sweep_id,
        sampler=samplers.make(sampler.name, sampler.seed, sampler.options),
        direction="maximize" if sweep.search.objective.mode == "max" else "minimize",
        load_if_exists=True,
    )


def recipe_of(sweep: Sweep, folder: SweepFolder, trial: str) -> Recipe:
    """Return the recipe of a trial: the sweep's, with the trial's point put in.

    Raises KeyError for a trial that the study does not have.
    """
    for frozen in open_study(sweep, folder).get_trials(deepcopy=False):
        if frozen.user_attrs.get("trial") == trial:
            return sweep.recipe.with_point(frozen.params)
    raise KeyError(f"{folder.study} has no {trial}")


def importances(sweep: Sweep, folder: SweepFolder) -> dict[str, float]:
    """Return how much of the objective's variation each field explains (fANOVA), largest first.

    Over the trials that ran to their end; empty when those are too few or all alike.
    """
    import optuna

    try:
        return optuna.importance.get_param_importances(open_study(sweep, folder))
    except (ValueError, RuntimeError):  # fewer than two trials, or no variation
        return {}
