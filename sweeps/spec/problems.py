"""Errors by which a sweep or a request is refused before it begins, and how they are printed."""

import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace

from search_spaces.issues import Issue, Location
from sweeps.names import printable
from workers.redaction import HIDDEN, is_secret, redact

INVALID, FAILED = 2, 1
"""Exit codes."""


class RefusedError(ValueError):
    """A sweep cannot begin as requested; nothing was trained."""


class SpecError(RefusedError):
    """A sweep file or a request is invalid; `issues` holds all reasons, in the order of the file.

    None of them holds a secret. Those without a location get `source`.
    """

    def __init__(self, *issues: Issue, source: str = "") -> None:
        named = Location(source) if source else None
        ordered = sorted(issues, key=_order)
        found = [replace(_redacted(each), location=each.location or named) for each in ordered]
        self.issues = tuple(dict.fromkeys(found))
        super().__init__(*self.issues)

    def __str__(self) -> str:
        return "\n".join(map(str, self.issues))


@contextmanager
def refused(*kinds: type[Exception]) -> Iterator[None]:
    """Raise `RefusedError` for errors of these kinds, by default OSError and ValueError."""
    kinds = kinds or (OSError, ValueError)
    try:
        yield
    except RefusedError:
        raise
    except kinds as error:
        raise RefusedError(str(error)) from error


def refuse_any(issues: Iterable[Issue], source: str = "") -> None:
    """Raise `SpecError` if there are issues; those without a location get `source`."""
    found = tuple(issues)
    if found:
        raise SpecError(*found, source=source)


def report_refusal(error: RefusedError) -> int:
    """Print a line per issue, or one sentence, and return the exit code."""
    if isinstance(error, SpecError):
        count = len(error.issues)
        complain(error)
        complain(f"{count} problem{'s' if count > 1 else ''}; nothing was started")
    else:
        complain(f"error: {error}")
    return INVALID


def complain(text: object) -> None:
    """Write an error to stderr, without secrets and without what a terminal would obey."""
    print(printable(redact(str(text))), file=sys.stderr, flush=True)


def _redacted(issue: Issue) -> Issue:
    secret = issue.keys and is_secret(issue.keys[-1]) and issue.actual not in ("", issue.keys[-1])
    actual = HIDDEN if secret else redact(issue.actual)
    return replace(issue, message=redact(issue.message), actual=actual)


def _order(issue: Issue) -> tuple[bool, int]:
    """Return where an issue stands: in the file by line, then in what came on top of it."""
    place = issue.location
    return (place.source == "--set", place.line or 0) if place else (False, 0)
