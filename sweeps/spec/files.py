"""Sweep files by path, and ready ones by name; ready cluster files."""

from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path

from sweeps.names import RESULTS
from sweeps.spec import database
from sweeps.spec.load import Sweep, load, parse
from workers.files.addresses import is_address


def recipes() -> dict[str, Traversable]:
    """Return the ready sweep files that come with the package, by name."""
    return _yaml_files("recipes")


def clusters() -> dict[str, Traversable]:
    """Return the ready cluster files that come with the package, by name."""
    return _yaml_files("recipes", "clusters")


def recipe_text(name: str) -> str:
    """Return the text of a ready sweep file; raises FileNotFoundError, naming those there are."""
    return _text(name, recipes(), "recipe")


def ready_text(name: str) -> str:
    """Return the text of a ready sweep or cluster file; otherwise as `recipe_text`."""
    return _text(name, recipes() | clusters(), "recipe or cluster file")


def read(file_or_recipe: str, overrides: Iterable[str]) -> Sweep:
    """Read a sweep file, or the recipe of that name when there is no such file.

    Raises `sweeps.spec.load.SpecError` with all problems, FileNotFoundError when there is neither.
    """
    if Path(file_or_recipe).exists():
        return load(Path(file_or_recipe), overrides)
    if "/" in file_or_recipe or file_or_recipe.endswith((".yaml", ".yml")):
        raise FileNotFoundError(f"no file {file_or_recipe}")
    return parse(recipe_text(file_or_recipe), f"{file_or_recipe}.yaml", overrides)


def located(sweep: Sweep) -> Sweep:
    """Return the sweep with its files and folders named from the root.

    Hosts, and a later `sweeps resume`, may run in another folder.
    """
    data = sweep.data.model_copy(update={"path": _absolute(sweep.data.path)})
    model = sweep.model.model_copy(update={"base": _absolute(sweep.model.base)})
    search = sweep.search.model_copy(update={"storage": database.located(sweep.search.storage)})
    storage = sweep.storage
    if storage is not None and not is_address(storage):
        storage = str(Path(storage).expanduser().absolute())
    changed = {"data": data, "model": model, "search": search, "storage": storage}
    return sweep.model_copy(update=changed)


def results_of(sweep: Sweep, named: str | None) -> str:
    """Return where the results of a sweep live: what was named, or else what its file says."""
    return named or sweep.storage or str(RESULTS)


def _absolute(name: str | None) -> str | None:
    """Return the path of what is on this machine; a hub name stays as it is."""
    if name is None or not Path(name).expanduser().exists():
        return name
    return str(Path(name).expanduser().absolute())


def _yaml_files(*folders: str) -> dict[str, Traversable]:
    found = sorted(files("sweeps").joinpath(*folders).iterdir(), key=lambda file: file.name)
    return {file.name.removesuffix(".yaml"): file for file in found if file.name.endswith(".yaml")}


def _text(name: str, known: Mapping[str, Traversable], what: str) -> str:
    if name not in known:
        close = get_close_matches(name, known, n=1)
        hint = f" (did you mean {close[0]}?)" if close else ""
        raise FileNotFoundError(f"no {what} {name!r}; there are {', '.join(known)}{hint}")
    return known[name].read_text(encoding="utf-8")
