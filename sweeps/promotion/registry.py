"""Registering an adapter with its base as a captioner in MLflow's model registry."""

import contextlib
import hashlib
import io
import os
from collections.abc import Callable, Iterator, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

import workers
from sweeps import names
from sweeps.spec.validation import dotted
from sweeps.tracking.client import Tracking
from sweeps.tracking.trial_run import with_log10
from workers.files.addresses import is_address
from workers.models import builtin
from workers.recipe import Recipe

CHAMPION = "champion"
"""The alias under which a model is loaded: ``models:/NAME@champion``."""
CHALLENGER = "challenger"
"""The alias of the version that was registered last and did not become the champion."""
ADAPTER = "adapter.sha256"
"""Tag of a version: digest of the adapter's weights."""
RECIPE = "recipe"
"""Key of the model's metadata under which its whole recipe stands."""
REQUIRED = ("mlflow", "torch", "transformers", "peft", "bitsandbytes", "accelerate", "safetensors",
            "pillow", "pydantic", "filelock", "platformdirs")  # fmt: skip
"""Packages that the captioner needs, pinned as installed here."""


def register(
    tracking: Tracking,
    run_id: str,
    adapter: Path,
    recipe: Recipe,
    name: str,
    tags: Mapping[str, str],
) -> int:
    """Log the adapter as a model of the run `run_id`, register it and make it the challenger.

    `adapter` is a folder as peft saves it. Returns the version of the model `name`: a new one, or
    the one that has this adapter already. Raises FileNotFoundError when the folder holds no
    adapter.
    """
    client = tracking.client()  # quiet, before the first import
    import mlflow
    from mlflow.entities import LoggedModelOutput, Metric

    check_adapter(adapter)
    weights = digest_weights(adapter)
    condition = f"{names.equals('name', name)} AND {names.equals(names.tag(ADAPTER), weights)}"
    versions = [int(found.version) for found in client.search_model_versions(condition)]
    if versions:
        client.set_registered_model_alias(name, CHALLENGER, str(max(versions)))
        return max(versions)

    tags, run = {**tags, ADAPTER: weights}, client.get_run(run_id)
    # The recipe's values and not those that the run began with: its point may have changed.
    logged, values = run.data.params, dotted(recipe)
    own = {field: values[field] for field in logged if field in values}
    logarithmic = [field for field in own if f"{field}_log10" in logged]
    model_id = client.create_logged_model(
        run.info.experiment_id,
        name="captioner",
        source_run_id=run_id,
        tags=tags,
        params={**logged, **with_log10(own, logarithmic)},
        model_type="captioner",
    ).model_id
    with global_store(tracking):
        mlflow.pyfunc.log_model(model_id=model_id, **_files(adapter, recipe))
        # From ``models:/m-...``: a version that is made from ``runs:/`` dies with its run.
        with contextlib.redirect_stderr(io.StringIO()):  # MLflow prints what the caller will
            made = mlflow.register_model(f"models:/{model_id}", name, tags=tags)
    # The model is shown on the run's page, and the run's best metrics on the model's. With its own
    # time and step a metric is linked; with others it would be logged again.
    client.log_outputs(run_id, [LoggedModelOutput(model_id, step=0)])
    best = [
        Metric(each.key, each.value, each.timestamp, each.step, model_id, run_id=run_id)
        for key in run.data.metrics
        if key.startswith("best/")
        for each in client.get_metric_history(run_id, key)[-1:]
    ]
    client.log_batch(run_id, metrics=best)
    client.set_registered_model_alias(name, CHALLENGER, made.version)
    return int(made.version)


def digest_weights(adapter: Path) -> str:
    """Return the SHA-256 of the weights of an adapter, a folder as peft saves it."""
    with (adapter / "adapter_model.safetensors").open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def remove_challenger(tracking: Tracking, name: str, version: str) -> None:
    """Remove the alias of the challenger from a version, unless another one has it now."""
    client = tracking.client()
    if str(client.get_registered_model(name).aliases.get(CHALLENGER)) == version:
        client.delete_registered_model_alias(name, CHALLENGER)


def save(folder: Path, adapter: Path, recipe: Recipe, tracking: Tracking) -> None:
    """Write to `folder` what `register` would log, and register nothing."""
    import mlflow

    check_adapter(adapter)
    with global_store(tracking):
        mlflow.pyfunc.save_model(str(folder), **_files(adapter, recipe))


def check_adapter(folder: Path) -> None:
    """Raise FileNotFoundError when `folder` holds no adapter as peft saves it."""
    for file in ("adapter_config.json", "adapter_model.safetensors"):
        if not (folder / file).is_file():
            raise FileNotFoundError(f"{folder} must be an adapter saved by peft; it has no {file}")


def captioner_file() -> Path:
    """Return the file that MLflow stores and runs: in the wheel or in the checkout."""
    here = Path(__file__).parents[1]
    installed = here / "mlflow_files" / "captioner.py"
    return installed if installed.is_file() else here.parent / "mlflow" / "captioner.py"


def model_config(recipe: Recipe) -> dict[str, Any]:
    """Return the settings with which the captioner loads the same base again.

    A base that is a folder is recorded by its absolute path, one of the hub by its commit;
    ``load_model(..., model_config={"base": ...})`` names another place.
    """
    base = Path(recipe.model.base).expanduser()
    return {
        "task": recipe.task,
        "prompt": recipe.prompt.model_dump(),
        "base": str(base.resolve()) if base.is_dir() else recipe.model.base,
        "revision": recipe.model.revision or _commit(recipe.model.base),
        "dtype": recipe.model.dtype,
        "quantization": recipe.quantization,
        "unquantized_modules": recipe.model.unquantized_modules,
        "min_pixels": recipe.model.min_pixels,
        "max_pixels": recipe.model.max_pixels,
        "beams": recipe.evaluate.final_beams,
        "max_new_tokens": recipe.evaluate.max_new_tokens,
        "images": None,
    }


def _commit(base: str) -> str | None:
    """Return the newest commit of a hub model in this machine's cache, if there is one.

    A recipe without a revision was trained on it; the hub may have a newer one when the captioner
    is loaded.
    """
    from huggingface_hub import try_to_load_from_cache

    if base in builtin.BASES or is_address(base) or Path(base).expanduser().is_dir():
        return None
    config = try_to_load_from_cache(base, "config.json")
    return Path(config).parent.name if isinstance(config, str) else None


def _files(adapter: Path, recipe: Recipe) -> dict[str, Any]:
    """Return the arguments with which MLflow stores an adapter."""
    return {
        "python_model": str(captioner_file()),
        "artifacts": {"adapter": str(adapter)},
        "code_paths": [str(Path(workers.__file__).parent)],
        "model_config": model_config(recipe),
        "metadata": {RECIPE: recipe.model_dump(mode="json")},
        # Without local parts of the versions: no index has ``2.13.0+cpu``.
        "pip_requirements": [f"{each}=={version(each).partition('+')[0]}" for each in REQUIRED],
    }


@contextlib.contextmanager
def global_store(tracking: Tracking) -> Iterator[None]:
    """Point MLflow's global functions at the store: the client lacks some of what is needed."""
    import mlflow

    # MLflow keeps what was set in these, too; its getters return defaults instead.
    before = os.environ.get("MLFLOW_TRACKING_URI"), os.environ.get("MLFLOW_REGISTRY_URI")
    mlflow.set_tracking_uri(tracking.address)
    mlflow.set_registry_uri(tracking.address)
    try:
        yield
    finally:
        mlflow.set_tracking_uri(before[0])  # type: ignore[arg-type]  # None: as never set
        mlflow.set_registry_uri(before[1])  # type: ignore[arg-type]
        if before[1] is None:
            os.environ.pop("MLFLOW_REGISTRY_URI", None)


def get_or_none(call: Callable[..., Any], *arguments: str) -> Any | None:
    """Return the result of a call of MLflow's client; None if the thing does not exist."""
    from mlflow.exceptions import MlflowException

    try:
        return call(*arguments)
    except MlflowException as error:
        if error.error_code in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
            return None
        raise
