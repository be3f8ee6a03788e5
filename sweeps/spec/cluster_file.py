"""The sweep inside a Ray cluster file, under ``metadata.sweep``.

Ray's schema of cluster files allows no further key at the top, but leaves ``metadata`` to the
user. Ray itself checks the rest of the file.
"""

from dataclasses import replace

from search_spaces.issues import Issue, show
from sweeps.spec.problems import SpecError
from sweeps.spec.yaml_file import Document

SWEEP = ("metadata", "sweep")
"""Keys down to the sweep."""
_RAYS = frozenset({"cluster_name", "provider"})
"""Keys that Ray requires of a cluster file and no sweep file has."""


def is_cluster_file(document: Document) -> bool:
    """Return whether a document is a file for ``ray up``."""
    return isinstance(document.values, dict) and bool(_RAYS & document.values.keys())


def sweep_of(document: Document) -> Document:
    """Return the part of a document that is a sweep file: all of it, or ``metadata.sweep``.

    Lines stay those of the whole file, paths are those of the sweep. Raises `SpecError` for a
    cluster file without a sweep.
    """
    if not is_cluster_file(document):
        return document
    metadata = document.values.get(SWEEP[0])
    sweep = metadata.get(SWEEP[1]) if isinstance(metadata, dict) else None
    if not isinstance(sweep, dict):
        must = "must hold the sweep, for this is a Ray cluster file"
        issue = Issue(SWEEP, must, "" if sweep is None else show(sweep))
        raise SpecError(document.located(issue))
    return Document(
        document.source,
        sweep,
        {keys[2:]: place for keys, place in document.places.items() if keys[:2] == SWEEP},
        [
            replace(issue, keys=issue.keys[2:] or issue.keys)
            for issue in document.issues
            if issue.keys[:2] == SWEEP or issue.keys == SWEEP[:1]
        ],
    )
