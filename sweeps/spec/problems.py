"""Problems of a sweep file: what is wrong, and where it stands."""

import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from search_spaces.flaws import Flaw, cut
from sweeps.names import printable
from workers.redaction import HIDDEN, is_secret, redact

INVALID, FAILED = 2, 1
"""Exit codes."""


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong with a sweep file or with an override."""

    path: str
    """Dotted path such as ``train.learning_rate``; empty for the file as a whole."""
    must: str
    """Says what is right, beginning with ``must``."""
    got: str
    """What was there instead, as it would be written in the file, without secrets; may be empty."""
    nearest: str | None
    """The valid name that was most likely meant."""
    source: str
    """Name of the file, or ``--set``."""
    line: int | None
    """Line in the file, from 1; None for overrides and for what is missing altogether."""

    @classmethod
    def of(cls, flaw: Flaw, source: str, line: int | None) -> "Problem":
        """Return the problem that `flaw` is, at its place."""
        hides = bool(flaw.got and flaw.at) and is_secret(flaw.at[-1]) and flaw.got != flaw.at[-1]
        got = HIDDEN if hides else cut(redact(flaw.got))  # in this order: a cut secret has no form
        return cls(".".join(flaw.at), redact(flaw.must), got, flaw.nearest, source, line)

    def __str__(self) -> str:
        place = self.source if self.line is None else f"{self.source}:{self.line}"
        got = f", got {self.got}" if self.got else ""
        hint = f" (did you mean {self.nearest}?)" if self.nearest else ""
        return "  ".join(part for part in (place, self.path, f"{self.must}{got}{hint}") if part)


class RefusedError(ValueError):
    """A sweep cannot begin as it was asked to; nothing was trained."""


@contextmanager
def refused() -> Iterator[None]:
    """Raise `RefusedError` for what goes wrong inside and a person can mend."""
    try:
        yield
    except RefusedError:
        raise
    except (OSError, ValueError) as error:
        raise RefusedError(str(error)) from error


class SpecError(RefusedError):
    """A sweep file cannot be run; `problems` holds all reasons, in the order of the file."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = tuple(dict.fromkeys(sorted(problems, key=_order)))
        super().__init__("\n".join(map(str, self.problems)))


def _order(problem: Problem) -> tuple[bool, int]:
    return problem.source == "--set", problem.line or 0


def complain(text: object) -> None:
    """Write to stderr what is wrong, without secrets; a terminal obeys nothing in it."""
    print(printable(redact(str(text))), file=sys.stderr, flush=True)
