"""Which files a sweep reads: those of this machine are sent, those of the cluster are named.

A relative path is one of this machine and goes along; an absolute one is the cluster's.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from sweeps.sweep import Sweep


@dataclass(frozen=True, kw_only=True)
class Input:
    """A file or folder that a sweep file names."""

    field: str
    """Dotted field, such as ``data.path``."""
    path: str
    """As it is written in the file."""


def sent(sweep: Sweep, folder: Path) -> list[Input]:
    """Return what a sweep reads below its working folder, and therefore takes along.

    A table goes with its whole folder, in which its images lie.
    Raises ValueError for a relative path that leads out of the folder.
    """
    found = [one for one in _named(sweep, folder) if _is_local(one, folder)]
    for one in found:
        _refuse_outside(one, folder)
    return [_with_its_folder(one, folder) for one in found]


def expected(sweep: Sweep) -> list[Input]:
    """Return what a sweep reads on the cluster itself, as a process there sees it."""
    return [one for one in _named(sweep, Path.cwd()) if Path(one.path).is_absolute()]


def _named(sweep: Sweep, folder: Path) -> Iterator[Input]:
    data = sweep.data
    yield Input(field="model.base", path=sweep.model.base)
    if data.path is not None:
        yield Input(field="data.path", path=data.path)
    if data.images is not None:
        table = Path(data.path or ".")
        beside = table.parent if (folder / table).is_file() else table
        yield Input(field="data.images", path=str(beside / data.images))


def _is_local(one: Input, folder: Path) -> bool:
    """Tell a path of this machine from a name on the hub, and from a path of the cluster."""
    path = Path(one.path)
    return not path.is_absolute() and not one.path.startswith("~") and (folder / path).exists()


def _refuse_outside(one: Input, folder: Path) -> None:
    if ".." in Path(one.path).parts:
        raise ValueError(
            f"{one.field}: must lie below the working folder {folder} to be sent, got {one.path}; "
            "submit from a folder above it, or put it on storage that all nodes of the cluster "
            "see and name its absolute path"
        )


def _with_its_folder(one: Input, folder: Path) -> Input:
    path = Path(one.path)
    table = one.field == "data.path" and (folder / path).is_file()
    return Input(field=one.field, path=str(path.parent if table else path))
