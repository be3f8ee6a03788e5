"""NSGA-II (Deb et al. 2002): generations of points that are crossed; for several objectives."""

from collections.abc import Iterable
from typing import Annotated, Any

from pydantic import Field

from search_spaces.issues import Issue
from search_spaces.space import Space
from sweeps.samplers.draw import Draw, conditional_issues

LEARNS_FROM_STOPPED = False
SEVERAL_OBJECTIVES = True
TAKES_WIDER_SPACE = False


def make(draw: Draw, *, population: Annotated[int, Field(ge=2)] = 20) -> Any:
    """Return Optuna's NSGA-II.

    Args:
        draw: which point it is for.
        population: completed trials of a generation; the first one is random.
    """
    from optuna.samplers import NSGAIISampler

    return NSGAIISampler(seed=draw.seed, population_size=population)


def issues(space: Space) -> Iterable[Issue]:
    """Yield conditional domains."""
    return conditional_issues("nsga2", space)
