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
from sweeps.samplers import Draw

LEARNS_FROM_STOPPED = False
SEVERAL_OBJECTIVES = False
TAKES_CONDITIONS = False
TAKES_WIDER_SPACE = False


def make(draw: Draw, *, population: Annotated[int, Field(ge=2)] | None = None) -> Any:
    """Return Optuna's CMA-ES.

    Args:
        population: points of a generation; null is 4 + 3 ln(number of fields).
    """
    import cmaes  # noqa: F401  Optuna asks for it at the second trial only
    from optuna.samplers import CmaEsSampler

    return CmaEsSampler(seed=draw.seed, popsize=population, warn_independent_sampling=False)


def issues(space: Space) -> Iterable[Issue]:
    """Yield a space without numbers."""
    if not any(isinstance(domain, Range) for domain in space.values()):
        must = "must have a range of numbers for cmaes; tpe, random and grid sample choices"
        yield Issue((), must, ", ".join(space))
