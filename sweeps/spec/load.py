"""Sweep files: read by path or by the name of a recipe, with overrides, checked; and dumped."""

from collections.abc import Iterable
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any

from search_spaces.forms import PRESET
from search_spaces.issues import Issue, Keys, Location, nearest, show
from search_spaces.presets import PRESETS
from sweeps.names import RESULTS
from sweeps.spec.checks import cross_issues
from sweeps.spec.problems import SpecError
from sweeps.spec.storage import absolute_address
from sweeps.spec.sweep import Sweep
from sweeps.spec.validation import issues_of, with_defaults
from sweeps.spec.yaml_file import OVERRIDE, Document, read_file, read_text, write
from workers.files.addresses import is_address

__all__ = ["SpecError", "Sweep", "dump", "load", "parse", "read"]

SPACE = ("search", "space")
_REQUIRED = {"name": "unnamed", "model": {"base": "unnamed"}, "data": {"source": "shapes"}}
"""Stands in for required parts that are missing, while the other parts are checked."""


def read(file_or_recipe: str, overrides: Iterable[str]) -> Sweep:
    """Read a sweep file, else the recipe of that name, as `load`; FileNotFoundError if neither."""
    if Path(file_or_recipe).exists():
        return load(Path(file_or_recipe), overrides)
    if "/" in file_or_recipe or file_or_recipe.endswith((".yaml", ".yml")):
        raise FileNotFoundError(f"no file {file_or_recipe}")
    if file_or_recipe not in recipes():
        raise unknown("recipe", file_or_recipe, recipes())
    return parse(ready_text(file_or_recipe), f"{file_or_recipe}.yaml", overrides)


def load(path: Path | str, overrides: Iterable[str] = ()) -> Sweep:
    """Read a sweep file, with overrides such as ``train.epochs=3`` on top.

    The file may also be a Ray cluster file with the sweep under ``metadata.sweep``.
    Raises `SpecError` with all issues of the file and of the overrides.
    """
    return _checked(read_file(Path(path)), overrides)


def parse(text: str, source: str = "sweep.yaml", overrides: Iterable[str] = ()) -> Sweep:
    """Read the text of a sweep file, which issues call `source`; otherwise as `load`."""
    return _checked(read_text(text, source), overrides)


def dump(sweep: Sweep) -> str:
    """Return the sweep as YAML that reads back to an equal value, with every default filled in."""
    values = sweep.model_dump(mode="json")
    return write({"name": values.pop("name"), **values})


def recipes() -> dict[str, Traversable]:
    """Return the ready sweep files that come with the package, by name."""
    return _yaml_files("recipes")


def clusters() -> dict[str, Traversable]:
    """Return the ready cluster files that come with the package, by name."""
    return _yaml_files("recipes", "clusters")


def ready_text(name: str) -> str:
    """Return the text of a recipe or a cluster file; raises FileNotFoundError, naming them all."""
    known = recipes() | clusters()
    if name not in known:
        raise unknown("recipe or cluster file", name, known)
    return known[name].read_text(encoding="utf-8")


def unknown(kinds: str, name: str, known: Iterable[str]) -> FileNotFoundError:
    """Return the error for a name that is none of the `known` ones."""
    names = list(known)
    close = nearest(name, names)
    hint = f" (did you mean {close}?)" if close else ""
    return FileNotFoundError(f"no {kinds} {name!r}; there are {', '.join(names)}{hint}")


def located(sweep: Sweep) -> Sweep:
    """Return the sweep with its paths named from the root: a resume may run in another folder."""

    def absolute(name: str | None) -> str | None:
        """Return the path of what is on this machine; a hub name stays as it is."""
        path = None if name is None else Path(name).expanduser()
        return name if path is None or not path.exists() else str(path.absolute())

    storage, study = sweep.storage, absolute_address(sweep.search.storage)
    if storage is not None and not is_address(storage):
        storage = str(Path(storage).expanduser().absolute())
    changed = {
        "data": sweep.data.model_copy(update={"path": absolute(sweep.data.path)}),
        "model": sweep.model.model_copy(update={"base": absolute(sweep.model.base)}),
        "search": sweep.search.model_copy(update={"storage": study}),
        "storage": storage,
    }
    return sweep.model_copy(update=changed)


def results_of(sweep: Sweep, named: str | None) -> str:
    """Return the place of a sweep's results: the one that was named, or else that of its file."""
    return named or sweep.storage or str(RESULTS)


def override(document: Document, assignments: Iterable[str]) -> None:
    """Apply assignments such as ``adapter.rank=8``; what is wrong with one joins the issues."""
    for assignment in assignments:
        path, equals, text = assignment.partition("=")
        if not equals or not all(path.split(".")):
            must = "must look like train.epochs=3"
            document.issues.append(Issue((), must, show(assignment), location=Location(OVERRIDE)))
            continue
        keys = tuple(path.strip().split("."))
        if keys[:2] == SPACE and len(keys) > 2:  # a field of the space is one key with dots
            keys = (*SPACE, ".".join(keys[2:]))
        try:
            given = read_text(text, OVERRIDE, keys)
            _section(document.values, keys)[keys[-1]] = given.values
        except SpecError as error:
            document.issues += error.issues
            continue
        for old in [place for place in document.places if place[: len(keys)] == keys]:
            del document.places[old]
        document.places |= given.places
        document.issues += given.issues


def _section(values: dict[str, Any], keys: Keys) -> dict[str, Any]:
    """Return the section that holds the last of `keys`, made where it is missing or null."""
    for depth, key in enumerate(keys[:-1], 1):
        inner = values.get(key)
        if inner is None:
            inner = {}
        elif keys[:depth] == SPACE and isinstance(inner, str) and inner in PRESETS:
            inner = {PRESET: inner}
        elif not isinstance(inner, dict):
            must = f"must name a field, but {'.'.join(keys[:depth])} is a value, not a section"
            raise SpecError(Issue(keys, must, show(inner)), source=OVERRIDE)
        values[key] = inner
        values = inner
    return values


def _yaml_files(*folders: str) -> dict[str, Traversable]:
    found = sorted(files("sweeps").joinpath(*folders).iterdir(), key=lambda file: file.name)
    return {file.name.removesuffix(".yaml"): file for file in found if file.name.endswith(".yaml")}


def _checked(document: Document, overrides: Iterable[str]) -> Sweep:
    document = document.sweep()
    if not isinstance(document.values, dict):
        must = "must be a mapping with the keys name, model, data, ..."
        raise SpecError(document.located(Issue((), must, show(document.values))))
    override(document, overrides)
    issues = issues_of(Sweep, document.values)
    sweep = with_defaults(Sweep, document.values, _REQUIRED)
    if sweep is not None:
        issues += cross_issues(sweep, document.values, issues)
    if issues or document.issues or sweep is None:
        raise SpecError(*document.issues, *map(document.located, issues))
    return sweep
