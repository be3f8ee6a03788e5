"""The sweep file: `load` reads and checks it, `dump` writes it with every default filled in."""

from collections.abc import Iterable
from pathlib import Path

from search_spaces.issues import Issue, show
from sweeps.spec.checks import cross_issues
from sweeps.spec.cluster_file import sweep_of
from sweeps.spec.overrides import override
from sweeps.spec.problems import SpecError
from sweeps.spec.rule_checks import rule_issues
from sweeps.spec.sweep import Sweep
from sweeps.spec.validation import issues_of, with_defaults
from sweeps.spec.yaml_file import Document, read_file, read_text, write

__all__ = ["SpecError", "Sweep", "dump", "load", "parse"]

_REQUIRED = {
    "name": "unnamed",
    "model": {"base": "unnamed"},
    "data": {"source": "shapes"},
}
"""Stands in for required parts that are missing, while the other parts are checked."""


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
    """Return the sweep as YAML that reads back to an equal value."""
    values = sweep.model_dump(mode="json")
    return write({"name": values.pop("name"), **values})


def _checked(document: Document, overrides: Iterable[str]) -> Sweep:
    document = sweep_of(document)
    if not isinstance(document.values, dict):
        must = "must be a mapping with the keys name, model, data, ..."
        raise SpecError(document.located(Issue((), must, show(document.values))))
    override(document, overrides)
    issues = issues_of(Sweep, document.values)
    sweep = with_defaults(Sweep, document.values, _REQUIRED)
    if sweep is not None:
        issues += tuple(cross_issues(sweep, document.values, issues))
        issues += tuple(rule_issues(sweep, document.values, issues))
    if issues or document.issues or sweep is None:
        raise SpecError(*document.issues, *map(document.located, issues))
    return sweep
