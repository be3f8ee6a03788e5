"""Trained adapters by name: of a sweep, a trial, a registered model, or a folder."""

import json
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from rich.console import Console
from rich.progress import track

from sweeps import names
from sweeps.board.handle import SweepHandle, adapter_of, best_adapter
from sweeps.board.leaderboard import format_score, no_winner
from sweeps.promotion.registry import RECIPE, check_adapter, get_or_none, global_store
from sweeps.results.folder import SweepFolder
from sweeps.study.study import recipe_of
from sweeps.study.trials import TrialState
from sweeps.tracking.client import STORE, Tracking
from workers.recipe import Recipe
from workers.report import Prediction

SCHEME = "models:/"
NAMED = re.compile(rf"{SCHEME}([^/@]+)(?:@(.+)|/([0-9]+))")
_RUN_ID = re.compile("[0-9a-f]{32}")
_PROGRESS_LINES = 10  # where there is no terminal


@dataclass(frozen=True, kw_only=True)
class TrainedAdapter:
    """A trained adapter on this machine."""

    title: str
    """Its name in output."""
    path: Path
    """Folder as peft saves it."""
    known_recipe: Recipe | None
    """The recipe of its training; None for a folder, which has none."""
    base: str | None = None
    """The base of a folder without recipe, where its configuration names one."""
    run_id: str | None = None
    """The run of its trial; needed for a promotion."""
    tags: Mapping[str, str] = field(default_factory=dict)
    """Tags of a registered version: the sweep, the trial and its best scores."""

    @property
    def recipe(self) -> Recipe:
        """The recipe of its training. Raises ValueError for a folder, which has none."""
        if self.known_recipe is None:
            raise ValueError(
                f"{self.title} does not name its base model and prompt: name a sweep, a trial "
                "or a registered model"
            )
        return self.known_recipe


@contextmanager
def open_adapter(source: str, results: Path) -> Iterator[TrainedAdapter]:
    """Yield the adapter that `source` names; it may be deleted after the block.

    `source` is a sweep (its winner) or a trial of one (``SWEEP/trial-003``), ``NAME@alias``,
    ``models:/NAME@alias`` or ``models:/NAME/version`` of the store that MLFLOW_TRACKING_URI names,
    else of the embedded one in `results`, or a folder.

    Raises FileNotFoundError or ValueError in one line when there is no such thing.
    """
    sweep_id, _, trial = source.partition("/")
    is_sweep = names.is_component(sweep_id) and "/" not in trial
    if "@" in source and not source.startswith(SCHEME) and not Path(source).is_dir():
        source = f"{SCHEME}{source}"
    if source.startswith(SCHEME):
        with TemporaryDirectory() as temporary:
            yield fetch_registered(source, model_store(results), temporary)
    elif (is_sweep and SweepFolder(root=results.absolute(), sweep_id=sweep_id).is_there) or not (
        "/" in source or Path(source).is_dir()
    ):
        earlier = SweepHandle.find(results, sweep_id)
        board = earlier.board
        found = board.trial(trial) if trial else best_adapter(earlier.folder, board)[0]
        yield adapter_of_trial(earlier, found)
    else:
        folder = Path(source)
        if not folder.is_dir():
            raise FileNotFoundError(f"there is no folder {folder}")
        check_adapter(folder)
        config = json.loads((folder / "adapter_config.json").read_text(encoding="utf-8"))
        base = config.get("base_model_name_or_path")
        yield TrainedAdapter(title=str(folder), path=folder, known_recipe=None, base=base)


def find_trial(name: str, results: Path) -> tuple[SweepHandle, TrialState]:
    """Return the trial to promote that `name` names, with its sweep.

    ``SWEEP/trial-003``, the sweep alone for its winner, or the id of a trial's run in MLflow.
    Raises ValueError or FileNotFoundError for a trial that does not exist or cannot be promoted,
    and for a sweep alone that has several objectives: its front has no winner.
    """
    if _RUN_ID.fullmatch(name):
        tracking = model_store(results)
        run = get_or_none(tracking.client().get_run, name)
        if run is None:
            raise ValueError(
                f"no run {name} in {tracking.address}; MLFLOW_TRACKING_URI names another store"
            )
        tags = run.data.tags
        if not {"sweep.id", "trial.id"} <= tags.keys():
            raise ValueError(f"run {name} is not a trial's: it has no tags sweep.id and trial.id")
        name = f"{tags['sweep.id']}/{tags['trial.id']}"
    sweep_id, _, trial = name.partition("/")
    earlier = SweepHandle.find(results, sweep_id)
    board = earlier.board
    found = board.trial(trial) if trial else board.winner
    if found is None:
        raise ValueError(f"{sweep_id}: {no_winner(board)}, so there is nothing to promote")
    if not trial and board.further:
        message = (
            f"{sweep_id} has several objectives; choose a trial of its front, such as "
            f"{sweep_id}/{board.front[0].name}:"
        )
        for each in board.front:
            pairs = zip(board.objectives, each.values, strict=True)
            scores = ", ".join(f"{one.metric} {format_score(value)}" for one, value in pairs)
            message += f"\n  {each.name}: {scores}"
        raise ValueError(message)
    if found.violates or found.score is None:
        raise ValueError(f"{trial} cannot be promoted: {found.violates or 'it has no score'}")
    return earlier, found


def challenger_of(earlier: SweepHandle, trial: TrialState) -> TrainedAdapter:
    """Return the best adapter of a trial with its run; raises ValueError if one is missing."""
    return replace(adapter_of_trial(earlier, trial), run_id=earlier.run.run_id_of(trial.name))


def adapter_of_trial(earlier: SweepHandle, trial: TrialState) -> TrainedAdapter:
    """Return the best adapter of a trial; raises ValueError when it is gone."""
    folder, objectives = earlier.folder, earlier.sweep.search.objectives
    metrics = [each.metric for each in objectives if each.metric in trial.best]
    best = {f"best.{metric}": f"{trial.best[metric]:.6f}" for metric in metrics}
    return TrainedAdapter(
        title=f"{trial.title} of {folder.sweep_id}",
        path=adapter_of(folder, trial),
        known_recipe=recipe_of(earlier.sweep, folder, trial.name),
        tags={"sweep.id": folder.sweep_id, "trial.id": trial.name, **best},
    )


def fetch_registered(source: str, tracking: Tracking, folder: str) -> TrainedAdapter:
    """Fetch the registered model that `source` names into `folder`.

    `source` is ``models:/NAME@alias`` or ``models:/NAME/version``. Raises ValueError when there
    is no such version, or one that holds no recipe.
    """
    client = tracking.client()
    from mlflow.artifacts import download_artifacts
    from mlflow.models import Model

    version = version_of(client, source, tracking.address)
    with global_store(tracking):
        place = download_artifacts(f"{SCHEME}{version.name}/{version.version}", dst_path=folder)
    model = Model.load(place)
    recipe = (model.metadata or {}).get(RECIPE)
    if recipe is None:
        raise ValueError(f"{source} was not registered by sweeps: it has no recipe")
    flavor = model.flavors["python_function"]
    # Only the captioner has the commit that a recipe without revision was trained on.
    revision = flavor.get("config", {}).get("revision")
    return TrainedAdapter(
        title=f"{version.name} version {version.version}",
        path=Path(place) / flavor["artifacts"]["adapter"]["path"],
        known_recipe=Recipe.model_validate(recipe).with_point({"model.revision": revision}),
    )


def model_store(results: Path) -> Tracking:
    """Return the store of registered models; raises FileNotFoundError when there is none yet."""
    uri = os.environ.get("MLFLOW_TRACKING_URI")
    tracking = Tracking(uri=uri, experiment="", root=results.absolute())
    if uri is None and not (tracking.root / STORE).exists():
        raise FileNotFoundError(
            f"no model is registered in {tracking.root}; `sweeps promote` registers one, and "
            "MLFLOW_TRACKING_URI names another store"
        )
    return tracking


def version_of(client: Any, source: str, address: str) -> Any:
    """Return the version that `source` names; raises ValueError, naming the alternatives."""
    match = NAMED.fullmatch(source)
    if match is None:
        raise ValueError(f"a model must be {SCHEME}NAME@alias or {SCHEME}NAME/version: {source!r}")
    name, alias, number = match.groups()
    get = client.get_model_version_by_alias if alias else client.get_model_version
    version = get_or_none(get, name, alias or number)
    if version is None:
        raise ValueError(f"no {source} in {address}; {known_models(client, name)}")
    return version


def known_models(client: Any, name: str) -> str:
    """Describe the alternatives: the model's versions and aliases, or all models."""
    model = get_or_none(client.get_registered_model, name)
    if model is None:
        models = sorted(each.name for each in client.search_registered_models())
        return f"there are models {', '.join(models)}" if models else "there is no model"
    versions = client.search_model_versions(names.equals("name", name))
    numbers = ", ".join(str(each.version) for each in versions)
    aliases = ", ".join(f"@{alias}" for alias in model.aliases) or "none"
    return f"{name} has versions {numbers} and aliases {aliases}"


def with_progress(
    predictions: Iterable[Prediction], total: int, console: Console
) -> Iterator[Prediction]:
    """Yield the predictions under a progress bar, or a few lines where there is no terminal."""
    if console.is_terminal:
        yield from track(predictions, "predict", total, console=console, transient=True)
        return
    for done, prediction in enumerate(predictions, 1):
        yield prediction
        if done * _PROGRESS_LINES // total > (done - 1) * _PROGRESS_LINES // total:
            console.print(f"predicted {done} of {total}")
