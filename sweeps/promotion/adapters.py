"""A trained adapter by what names it: a sweep, a registered model, a folder."""

import json
import os
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from rich.console import Console
from rich.progress import track

from sweeps import names
from sweeps.board.earlier import EarlierSweep, adapter_of, best_adapter
from sweeps.promotion.registry import RECIPE, check_adapter, global_store
from sweeps.results.folder import SweepFolder
from sweeps.study.study import recipe_of
from sweeps.tracking.client import Tracking
from workers.recipe import Recipe
from workers.report import Prediction

LINES = 10
"""Lines of progress where there is no terminal."""


SCHEME = "models:/"
NAMED = re.compile(rf"{SCHEME}([^/@]+)(?:@(.+)|/([0-9]+))")


@dataclass(frozen=True, kw_only=True)
class Trained:
    """An adapter on this machine."""

    title: str
    """What a person calls it."""
    adapter: Path
    """Folder as peft saves it."""
    recipe: Recipe | None
    """What it was trained by; None for a folder, which says nothing of it."""
    base: str | None = None
    """The base that a folder without recipe was trained on, where it says so."""


@contextmanager
def trained(source: str, results: Path) -> Iterator[Trained]:
    """Give the adapter that `source` names, as long as the block lasts.

    `source` is a sweep (its winner) or a trial of one (``SWEEP/trial-003``), ``NAME@alias``,
    ``models:/NAME@alias`` or ``models:/NAME/version`` of the store that MLFLOW_TRACKING_URI names,
    else of the embedded one in `results`, or a folder.

    Raises FileNotFoundError or ValueError in one line when there is no such thing.
    """
    if "@" in source and not source.startswith(SCHEME) and not Path(source).is_dir():
        source = f"{SCHEME}{source}"
    if source.startswith(SCHEME):
        with TemporaryDirectory() as folder:
            yield registered(source, model_store(results), folder)
    elif _is_folder(source, results):
        yield _saved(Path(source))
    else:
        yield _swept(source, results)


def _is_folder(source: str, results: Path) -> bool:
    """Tell a folder from a sweep or a trial of one, which go first."""
    sweep_id, _, trial = source.partition("/")
    if names.is_component(sweep_id) and "/" not in trial:
        sweep = SweepFolder(root=results.absolute(), sweep_id=sweep_id)
        if sweep.is_there:
            return False
    return "/" in source or Path(source).is_dir()


def _saved(folder: Path) -> Trained:
    if not folder.is_dir():
        raise FileNotFoundError(f"there is no folder {folder}")
    check_adapter(folder)
    config = json.loads((folder / "adapter_config.json").read_text(encoding="utf-8"))
    base = config.get("base_model_name_or_path")
    return Trained(title=str(folder), adapter=folder, recipe=None, base=base)


def _swept(source: str, results: Path) -> Trained:
    sweep_id, _, trial = source.partition("/")
    earlier = EarlierSweep.find(results, sweep_id)
    if trial:
        found = earlier.board.trial(trial)
        adapter = adapter_of(earlier.folder, found)
    else:
        found, adapter = best_adapter(earlier.folder, earlier.board)
    return Trained(
        title=f"{found.title} of {sweep_id}",
        adapter=adapter,
        recipe=recipe_of(earlier.sweep, earlier.folder, found.name),
    )


def registered(source: str, tracking: Tracking, folder: str) -> Trained:
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
    # The commit that a recipe without revision was trained on stands with the captioner only.
    revision = flavor.get("config", {}).get("revision")
    return Trained(
        title=f"{version.name} version {version.version}",
        adapter=Path(place) / flavor["artifacts"]["adapter"]["path"],
        recipe=Recipe.model_validate(recipe).with_point({"model.revision": revision}),
    )


def model_store(results: Path) -> Tracking:
    """Return the store of registered models; raises FileNotFoundError when there is none yet."""
    uri = os.environ.get("MLFLOW_TRACKING_URI")
    tracking = Tracking(uri=uri, experiment="", root=results.absolute())
    if uri is None and not (tracking.root / "tracking.db").exists():
        raise FileNotFoundError(
            f"no model is registered in {tracking.root}; `sweeps promote` registers one, and "
            "MLFLOW_TRACKING_URI names another store"
        )
    return tracking


def version_of(client: Any, source: str, address: str) -> Any:
    """Return the version that ``models:/NAME@alias`` or ``models:/NAME/version`` names.

    Raises ValueError, naming what there is, for none.
    """
    from mlflow.exceptions import MlflowException

    match = NAMED.fullmatch(source)
    if match is None:
        raise ValueError(f"a model must be {SCHEME}NAME@alias or {SCHEME}NAME/version: {source!r}")
    name, alias, number = match.groups()
    try:
        if alias:
            return client.get_model_version_by_alias(name, alias)
        return client.get_model_version(name, number)
    except MlflowException as error:
        raise ValueError(f"no {source} in {address}; {known_models(client, name)}") from error


def known_models(client: Any, name: str) -> str:
    """Say what can be named instead: the versions and aliases of the model, or all models."""
    from mlflow.exceptions import MlflowException

    try:
        found = client.get_registered_model(name)
    except MlflowException:
        models = sorted(model.name for model in client.search_registered_models())
        return f"there are models {', '.join(models)}" if models else "there is no model"
    versions = client.search_model_versions(names.equals("name", name))
    numbers = ", ".join(str(each.version) for each in versions)
    aliases = ", ".join(f"@{alias}" for alias in found.aliases) or "none"
    return f"{name} has versions {numbers} and aliases {aliases}"


def followed(
    predictions: Iterable[Prediction], total: int, console: Console
) -> Iterable[Prediction]:
    """Yield the predictions under a progress bar, or a few lines where there is no terminal."""
    if console.is_terminal:
        yield from track(predictions, "predict", total, console=console, transient=True)
        return
    for done, prediction in enumerate(predictions, 1):
        yield prediction
        if done * LINES // total > (done - 1) * LINES // total:
            console.print(f"predicted {done} of {total}")
