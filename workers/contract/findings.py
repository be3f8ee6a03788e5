"""What checks have found."""

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

from workers.contract.subject import Subject

Check = Callable[[Subject], str]


class NotPossibleError(Exception):
    """What this architecture does not offer, and why; nothing is wrong with it."""


@dataclass(frozen=True, kw_only=True)
class Finding:
    """The outcome of one check."""

    check: str
    outcome: Literal["passed", "not possible", "failed"]
    detail: str
    """What was found, or the reason."""
    seconds: float


def finding_of(name: str, check: Callable[[], str]) -> Finding:
    """Run a check and return its outcome, whatever it raises."""
    outcome: Literal["passed", "not possible", "failed"] = "passed"
    started = time.perf_counter()
    try:
        detail = check()
    except NotPossibleError as error:
        outcome, detail = "not possible", str(error)
    except Exception as error:  # an unknown architecture may raise anything
        told = isinstance(error, (ValueError, AssertionError)) and str(error)
        outcome, detail = "failed", told or f"{type(error).__name__}: {error}"
    seconds = time.perf_counter() - started
    return Finding(check=name, outcome=outcome, detail=" ".join(detail.split()), seconds=seconds)


def findings(subject: Subject, checks: Mapping[str, Check]) -> Iterator[Finding]:
    """Yield the outcome of each of the checks, in their order."""
    for name, check in checks.items():
        yield finding_of(name, lambda check=check: check(subject))  # type: ignore[misc]
