"""Arguments that several commands take, and the one way in which a command fails."""

import sys
import traceback
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sweeps.spec.problems import FAILED, INVALID, RefusedError, complain, report_refusal
from sweeps.tracking import access

if TYPE_CHECKING:
    from rich.console import Console

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
"""For commands with a sweep file, which may say so, too."""
Overrides = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="FIELD=VALUE", help="Replace a field, such as train.epochs=3."),
]


def console() -> "Console":
    """Return where a command writes to."""
    from sweeps.terminal import Terminal

    return Terminal()


def report_error(error: Exception) -> int:
    """Print why a command failed, and return its exit code.

    What a person can fix is a line per issue, or one sentence; anything else has a traceback.
    """
    from sweeps.storage.store import StorageError

    if isinstance(error, RefusedError):
        return report_refusal(error)
    reason = _explained(error)
    if reason is None:
        traceback.print_exception(error)
        return FAILED
    complain(f"error: {reason}")
    return INVALID if isinstance(error, StorageError) else FAILED


def _explained(error: Exception) -> str | None:
    """Return the sentence of our own errors and of MLflow's; None for all others."""
    refusal = None if isinstance(error, PermissionError) else access.refusal(error)
    if refusal:
        return f"MLflow's server {refusal}"
    mlflow = sys.modules.get("mlflow.exceptions")  # not imported for this: that takes seconds
    explained = (OSError, ValueError, *([mlflow.MlflowException] if mlflow else []))
    return str(error) if isinstance(error, explained) else None
