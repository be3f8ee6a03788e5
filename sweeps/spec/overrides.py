"""Overrides from the command line: ``--set train.epochs=3`` on top of a sweep file."""

from collections.abc import Iterable
from typing import Any

from search_spaces.forms import PRESET
from search_spaces.issues import Issue, Keys, Location, show
from search_spaces.presets import PRESETS
from sweeps.spec.problems import SpecError
from sweeps.spec.yaml_file import OVERRIDE, Document, read_text

SPACE = ("search", "space")


def override(document: Document, assignments: Iterable[str]) -> None:
    """Apply assignments such as ``adapter.rank=8`` in order; the values are YAML.

    What is wrong with an assignment is added to the document's issues.
    """
    for assignment in assignments:
        path, equals, text = assignment.partition("=")
        if not equals or not all(path.split(".")):
            must = "must look like train.epochs=3"
            document.issues.append(Issue((), must, show(assignment), location=Location(OVERRIDE)))
            continue
        try:
            _assign(document, _keys(path.strip()), text)
        except SpecError as error:
            document.issues += error.issues


def _keys(path: str) -> Keys:
    """Split a dotted path; what follows ``search.space`` is one key, itself a dotted path."""
    keys = tuple(path.split("."))
    return (*SPACE, ".".join(keys[2:])) if keys[:2] == SPACE and len(keys) > 2 else keys


def _assign(document: Document, keys: Keys, text: str) -> None:
    given = read_text(text, OVERRIDE, keys)
    _section(document.values, keys)[keys[-1]] = given.values
    for old in [place for place in document.places if place[: len(keys)] == keys]:
        del document.places[old]
    document.places.update(given.places)
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
