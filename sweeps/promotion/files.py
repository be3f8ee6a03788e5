"""The files of a registered version: are they all there?"""

from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from sweeps.promotion.entries import LedgerError
from sweeps.promotion.registry import check_adapter, global_store
from sweeps.tracking.client import Tracking


def check_files(tracking: Tracking, model: str, version: str) -> None:
    """Fetch a version as MLflow would to load it, and read its parts; the base is not loaded.

    It takes seconds, also on a machine that could not hold the base. Raises `LedgerError` when
    something is missing or cut off.
    """
    tracking.client()  # quiet, before the first import
    from mlflow.artifacts import download_artifacts

    with TemporaryDirectory() as folder, global_store(tracking):
        try:
            _check(Path(download_artifacts(f"models:/{model}/{version}", dst_path=folder)))
        except Exception as error:  # each kind of artifact store raises errors of its own
            raise LedgerError(
                f"the files of {model} version {version} cannot be read, so it cannot be loaded: "
                f"{str(error).strip() or type(error).__name__}"
            ) from error


def _check(folder: Path) -> None:
    from mlflow.models import Model
    from safetensors import safe_open

    flavor = Model.load(str(folder)).flavors["python_function"]
    for part in _parts(flavor):
        if not (folder / part).exists():
            raise FileNotFoundError(f"{part} is missing")
    adapter = flavor.get("artifacts", {}).get("adapter")
    if adapter:
        check_adapter(folder / adapter["path"])
    for weights in sorted(folder.rglob("*.safetensors")):
        with safe_open(weights, framework="numpy"):  # refuses a file that is cut off
            pass


def _parts(flavor: dict[str, Any]) -> Iterator[str]:
    """Yield the paths, within the model, that loading it needs."""
    if flavor.get("code"):
        yield flavor["code"]
    if flavor.get("model_code_path"):  # where it was when it was logged
        yield Path(flavor["model_code_path"]).name
    yield from (artifact["path"] for artifact in flavor.get("artifacts", {}).values())
