"""Arguments of several commands, and the report of an error by which a command fails."""

import sys
import traceback
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sweeps.spec.problems import FAILED, INVALID, RefusedError, complain, refused, report_refusal
from sweeps.tracking import errors

if TYPE_CHECKING:
    from rich.console import Console

    from sweeps.spec.load import Sweep

File = Annotated[str, typer.Argument(help="A sweep file, or the name of a recipe.")]
SweepId = Annotated[str, typer.Argument(help="A sweep, such as quickstart-1.")]


def _reader(results: str | Path) -> Path:
    from sweeps.storage.places import READER, working

    return working(results, READER)


def _driver(results: str | Path) -> Path:
    from sweeps.storage.places import DRIVER, working

    return working(results, DRIVER)


_WHERE = "Folder of all sweeps and of the embedded store, or an address: s3://bucket/prefix."
Results = Annotated[Path, typer.Option("--results", help=_WHERE, parser=_reader)]
DriversResults = Annotated[Path, typer.Option("--results", help=_WHERE, parser=_driver)]
"""For commands that run a sweep, in a working copy of their own."""
NamedResults = Annotated[
    str | None, typer.Option("--results", help=f"{_WHERE} Else as `storage` of the file says.")
]
"""For commands with a sweep file, which may name the place, too."""
Json = Annotated[bool, typer.Option("--json", help="Print JSON and nothing else.")]
Overrides = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="FIELD=VALUE", help="Replace a field, such as train.epochs=3."),
]


def console() -> "Console":
    """Return the console of a command."""
    from sweeps.terminal import Terminal

    return Terminal()


def read_sweep(file: str, overrides: list[str] | None) -> "Sweep":
    """Return the sweep of a file or recipe; raises `RefusedError`."""
    from sweeps.spec.load import read

    with refused(FileNotFoundError):
        return read(file, overrides or ())


def report_error(error: Exception) -> int:
    """Print why a command failed, and return its exit code.

    Our own errors and MLflow's are a line per issue, or one sentence; all others, which a person
    cannot fix, have a traceback.
    """
    from sweeps.storage.store import StorageError

    if isinstance(error, RefusedError):
        return report_refusal(error)
    refusal = None if isinstance(error, PermissionError) else errors.refusal(error)
    mlflow = sys.modules.get("mlflow.exceptions")  # not imported for this: that takes seconds
    explained = (OSError, ValueError, *([mlflow.MlflowException] if mlflow else []))
    if not refusal and not isinstance(error, explained):
        traceback.print_exception(error)
        return FAILED
    complain(f"error: MLflow's server {refusal}" if refusal else f"error: {error}")
    return INVALID if isinstance(error, StorageError) else FAILED
