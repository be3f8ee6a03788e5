"""Arguments that several commands take, and how what is wrong with them is said."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sweeps.spec.problems import INVALID, complain

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


@contextmanager
def problems() -> Iterator[None]:
    """Say what is wrong with a sweep file or a request that is read inside, and leave."""
    from sweeps.spec.problems import SpecError

    try:
        yield
    except SpecError as error:
        count = len(error.problems)
        complain(error)
        complain(f"{count} problem{'s' if count > 1 else ''}; nothing was started")
        raise typer.Exit(INVALID) from None
    except FileNotFoundError as error:
        complain(f"error: {error}")
        raise typer.Exit(INVALID) from None


def console() -> "Console":
    """Return where a command writes to."""
    from sweeps.terminal import Terminal

    return Terminal()


@contextmanager
def refused() -> Iterator[None]:
    """Say in a sentence why a cluster cannot be used as asked, and leave."""
    try:
        yield
    except ValueError as error:
        complain(f"error: {error}")
        raise typer.Exit(INVALID) from None
