"""Checks of installed packages that can break a sweep. Each returns a sentence or an issue."""

import os
import sqlite3
import sys
from collections.abc import Iterable, Iterator
from contextlib import closing
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path

from packaging.requirements import Requirement

from sweeps.doctor.check import CheckResult, ProbeError, error, probe, warning
from sweeps.tracking.client import Tracking
from sweeps.version import DISTRIBUTION

_BITSANDBYTES = """
import bitsandbytes, torch
from bitsandbytes.cextension import lib
device = "cuda" if torch.cuda.is_available() else "cpu"
bitsandbytes.functional.quantize_4bit(torch.ones(64, 64, device=device), quant_type="nf4")
print(bitsandbytes.__version__, device, type(lib).__name__)
"""
_TORCHVISION = """
from importlib.util import find_spec
if find_spec("torchvision"):
    import torchvision.transforms.v2
    print(torchvision.__version__)
"""
_MLFLOW = """
import sys, mlflow
if not hasattr(mlflow, "start_run"):
    sys.exit(f"`import mlflow` finds {list(mlflow.__path__)[0]}, which is not MLflow")
print(mlflow.__version__)
"""
_SERVER = """
import os, mlflow
from sweeps.tracking import errors
os.environ["MLFLOW_HTTP_REQUEST_MAX_RETRIES"] = "0"
uri = os.environ["MLFLOW_TRACKING_URI"]
with errors.explained(uri):
    mlflow.MlflowClient(uri).search_experiments(max_results=1)
print(f"MLflow {mlflow.__version__}; {uri} answers")
"""


def bitsandbytes() -> CheckResult:
    """Quantize a small matrix where a sweep would."""
    try:
        number, device, library = probe(_BITSANDBYTES).split()
    except ProbeError as failure:
        fix = f"{_install('bitsandbytes')}; without it only quantization: none works"
        return error(f"does not quantize: {failure}", fix)
    if "Mock" in library:  # what bitsandbytes puts in place of a library that does not load
        text = f"{number}; its {device.upper()} library does not load, quantization is slow"
        return warning(text, _install("bitsandbytes"))
    return f"{number} quantizes with its {device.upper()} library"


def torchvision() -> CheckResult:
    """Import torchvision if it is there: transformers only checks whether it is.

    A torchvision that does not import, such as one built for another torch, makes the models
    and image processors of transformers fail with 'Could not import module'.
    """
    try:
        number = probe(_TORCHVISION)
    except ProbeError as failure:
        text = f"does not import ({failure}), so transformers cannot import its models"
        fix = "pip uninstall torchvision, which few bases need, or install that of this torch"
        return error(text, fix)
    return f"{number} imports" if number else "absent, and few bases need it"


def tracking(results: Path) -> CheckResult:
    """Import MLflow, and query the server of MLFLOW_TRACKING_URI or else the store in `results`."""
    try:
        number = probe(_MLFLOW)
    except ProbeError as failure:
        return error(str(failure), _install("mlflow"))
    if os.environ.get("MLFLOW_TRACKING_URI", "").startswith("http"):
        try:
            return probe(_SERVER)
        except ProbeError as failure:
            fix = "start that server, correct what the message names, or unset MLFLOW_TRACKING_URI"
            return error(str(failure).partition(": ")[2], fix)
    store = Tracking(uri=None, experiment="", root=results.absolute())
    file = Path(store.address.removeprefix("sqlite:///"))
    if not file.exists():
        return f"MLflow {number}; the first sweep makes {file}"
    try:
        with closing(sqlite3.connect(f"{file.as_uri()}?mode=ro", uri=True)) as database:
            runs = int(database.execute("SELECT count(*) FROM runs").fetchone()[0])
    except sqlite3.Error as failure:
        fix = "put a backup in its place, or move it away: the next sweep makes a new one"
        return error(f"{file} is not a store of MLflow: {failure}", fix)
    return f"MLflow {number}; {runs} runs in {file}"


def versions() -> CheckResult:
    """Compare the installed packages with those that this package was tested with."""
    found: dict[Requirement, str] = {}
    for need in _requirements():
        try:
            found[need] = version(need.name)
        except PackageNotFoundError:
            found[need] = ""
    if not found:
        text = f"{DISTRIBUTION} itself is not installed, so nothing says what it needs"
        return warning(text, "pip install it")
    missing = [need for need, number in found.items() if not number]
    if missing:
        return error(f"not installed: {', '.join(need.name for need in missing)}", _pip(missing))
    other = {need: number for need, number in found.items() if number not in need.specifier}
    if other:
        named = ", ".join(f"{need.name} {number}" for need, number in other.items())
        return warning(f"not tested with {named}", _pip(other))
    python = ".".join(map(str, sys.version_info[:3]))
    return f"all {len(found)} packages as wanted, Python {python}"


def _requirements() -> Iterator[Requirement]:
    """Yield what the installed package itself needs here, without its extras."""
    try:
        lines = requires(DISTRIBUTION) or []
    except PackageNotFoundError:
        return
    for need in map(Requirement, lines):
        if need.marker is None or need.marker.evaluate({"extra": ""}):
            yield need


def _install(name: str) -> str:
    """Return the command that installs a package in the version that is wanted."""
    return _pip([need for need in _requirements() if need.name == name] or [Requirement(name)])


def _pip(needs: Iterable[Requirement]) -> str:
    return f"pip install {' '.join(repr(str(need)) for need in needs)}"
