"""Covariance matrix adaptation (Hansen & Ostermeier 2001) over the numbers of a space.

Choices are drawn at random beside it. Its state lies, pickled, in the study, which is why the
study must be the sweep's own file.
"""

from collections.abc import Iterable
from typing import Annotated, Any

from pydantic import Field

from search_spaces.domains import Range
from search_spaces.issues import Issue
from search_spaces.space import Space
from sweeps.samplers.draw import Draw, conditional_issues

LEARNS_FROM_STOPPED = False
SEVERAL_OBJECTIVES = False
TAKES_WIDER_SPACE = False


def make(draw: Draw, *, population: Annotated[int, Field(ge=2)] | None = None) -> Any:
    """Return Optuna's CMA-ES.

    Args:
        draw: which point it is for.
        population: points of a generation; null is 4 + 3 ln(number of fields).
    """
    import cmaes  # noqa: F401  Optuna asks for it at the second trial only
    from optuna.samplers import CmaEsSampler

    return CmaEsSampler(seed=draw.seed, popsize=population, warn_independent_sampling=False)


def issues(space: Space) -> Iterable[Issue]:
    """Yield conditional domains, and a space without numbers."""
    yield from conditional_issues("cmaes", space)
    if not any(isinstance(domain, Range) for domain in space.values()):
        must = "must have a range of numbers for cmaes; tpe, random and grid sample choices"
        yield Issue((), must, ", ".join(space))
