"""YAML of sweep files: plain values, and for every dotted path the place it came from.

The types are those of YAML 1.2: ``5e-5`` and ``1e3`` are numbers, ``no`` and ``off`` are text.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import yaml

from search_spaces.issues import Issue, Keys, Location, show
from sweeps.spec.problems import SpecError

OVERRIDE = "--set"
"""Source of values from the command line."""
_EMBEDDED = ("metadata", "sweep")
"""Keys down to the sweep in a Ray cluster file, whose schema leaves ``metadata`` to the user."""
_CLUSTER_KEYS = frozenset({"cluster_name", "provider"})
"""Keys that Ray requires of a cluster file and no sweep file has."""

_SCALARS = (
    ("null", r"~|null|Null|NULL|", ["~", "n", "N", ""]),
    ("bool", r"true|True|TRUE|false|False|FALSE", list("tTfF")),
    ("int", r"[-+]?(0|[1-9][0-9]*)", list("-+0123456789")),
    ("float", r"[-+]?(\.[0-9]+|[0-9]+\.[0-9]*)([eE][-+]?[0-9]+)?|[-+]?[0-9]+[eE][-+]?[0-9]+"
              r"|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)", list("-+.0123456789")),
)  # fmt: skip


class _Loader(yaml.SafeLoader):
    """Reads scalars by the rules of YAML 1.2."""

    yaml_implicit_resolvers: dict[str, Any] = {}  # noqa: RUF012  PyYAML's own name and shape

    def compose_node(self, parent: yaml.Node | None, index: Any) -> Any:
        """Refuse aliases and tags: a sweep file holds plain values, each under one path."""
        event = self.peek_event()  # type: ignore[no-untyped-call]
        if isinstance(event, yaml.AliasEvent) or getattr(event, "tag", None) is not None:
            reason = "aliases (*name) and tags (!name) are not for sweep files"
            raise yaml.MarkedYAMLError(problem=reason, problem_mark=event.start_mark)
        return super().compose_node(parent, index)


class _Dumper(yaml.SafeDumper):
    """Quotes texts that `_Loader` would take for something else, such as 5e-5."""

    yaml_implicit_resolvers = _Loader.yaml_implicit_resolvers


for _name, _pattern, _first in _SCALARS:
    _tag = f"tag:yaml.org,2002:{_name}"
    _Loader.add_implicit_resolver(_tag, re.compile(f"^({_pattern})$"), _first)


@dataclass
class Document:
    """A YAML document while it is read: its values, where each came from, and its issues."""

    source: str
    """Name of the file, or `OVERRIDE`."""
    values: Any = None
    places: dict[Keys, Location] = field(default_factory=dict)
    """Keys down to a value -> where it stands."""
    issues: list[Issue] = field(default_factory=list)

    def located(self, issue: Issue) -> Issue:
        """Return the issue with the location of the longest known part of its path."""
        for length in range(len(issue.keys), 0, -1):
            if issue.keys[:length] in self.places:
                return replace(issue, location=self.places[issue.keys[:length]])
        return replace(issue, location=Location(self.source))

    def is_cluster_file(self) -> bool:
        """Tell whether the document is a file for ``ray up``."""
        return isinstance(self.values, dict) and bool(_CLUSTER_KEYS & self.values.keys())

    def sweep(self) -> "Document":
        """Return the part that is a sweep file: all of it, or ``metadata.sweep``.

        Lines stay those of the whole file, paths are those of the sweep. Raises `SpecError` for a
        cluster file without a sweep.
        """
        if not self.is_cluster_file():
            return self
        metadata = self.values.get(_EMBEDDED[0])
        sweep = metadata.get(_EMBEDDED[1]) if isinstance(metadata, dict) else None
        if not isinstance(sweep, dict):
            must = "must hold the sweep, for this is a Ray cluster file"
            issue = Issue(_EMBEDDED, must, "" if sweep is None else show(sweep))
            raise SpecError(self.located(issue))
        inside = {keys[2:]: place for keys, place in self.places.items() if keys[:2] == _EMBEDDED}
        issues = [
            replace(issue, keys=issue.keys[2:] or issue.keys)
            for issue in self.issues
            if issue.keys[:2] == _EMBEDDED or issue.keys == _EMBEDDED[:1]
        ]
        return Document(self.source, sweep, inside, issues)


def read_file(path: Path) -> Document:
    """Read a file; raises `SpecError` if it cannot be read or is no YAML."""
    try:
        return read_text(path.read_text(encoding="utf-8"), str(path))
    except OSError as error:
        reason = error.strerror or str(error)
    except UnicodeDecodeError as error:
        reason = f"byte {error.start} is not UTF-8"
    raise SpecError(Issue((), f"must be a readable text file: {reason}"), source=str(path))


def read_text(text: str, source: str, at: Keys = ()) -> Document:
    """Read YAML text that stands at the path `at`; raises `SpecError` if it is no YAML."""
    document = Document(source)
    loader = None
    try:
        loader = _Loader(text)
        node = loader.get_single_node()
        document.values = None if node is None else _value(loader, node, at, document)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
        problem = getattr(error, "problem", None) or str(error).splitlines()[0]
        issue = Issue(at, f"must be valid YAML: {problem}", location=_location(source, mark))
        raise SpecError(issue) from None
    finally:
        if loader is not None:
            loader.dispose()
    return document


def write(values: Mapping[str, Any]) -> str:
    """Return YAML that `read_text` reads back to the same values; innermost ones on one line."""
    style: dict[str, Any] = {"sort_keys": False, "default_flow_style": None, "width": 100}
    text: str = yaml.dump(dict(values), Dumper=_Dumper, allow_unicode=True, **style)
    return text


def _value(loader: _Loader, node: yaml.Node, at: Keys, document: Document) -> Any:
    """Return the value of a node, noting its lines and repeated keys in the document."""
    document.places.setdefault(at, _location(document.source, node.start_mark))
    if isinstance(node, yaml.SequenceNode):
        items = enumerate(node.value)
        return [_value(loader, item, (*at, str(index)), document) for index, item in items]
    if not isinstance(node, yaml.MappingNode):
        return loader.construct_object(node)  # type: ignore[no-untyped-call]
    values: dict[str, Any] = {}
    for key_node, value_node in node.value:
        key = key_node.value if isinstance(key_node, yaml.ScalarNode) else show("a collection")
        inner, place = (*at, key), _location(document.source, key_node.start_mark)
        if key in values:
            first = document.places[inner].line
            must = "must be given once" + (f", was on line {first} already" if first else "")
            document.issues.append(Issue(inner, must, location=place))
            continue
        document.places[inner] = place
        values[key] = _value(loader, value_node, inner, document)
    return values


def _location(source: str, mark: Any) -> Location:
    return Location(source, None if mark is None or source == OVERRIDE else mark.line + 1)
