"""NSGA-II (Deb et al. 2002): generations of points that are crossed; for several objectives."""

from typing import Annotated, Any

from pydantic import Field

from sweeps.samplers import Draw

LEARNS_FROM_STOPPED = False
SEVERAL_OBJECTIVES = True
TAKES_CONDITIONS = False
TAKES_WIDER_SPACE = False


def make(draw: Draw, *, population: Annotated[int, Field(ge=2)] = 20) -> Any:
    """Return Optuna's NSGA-II.

    Args:
        population: completed trials of a generation; the first one is random.
    """
    from optuna.samplers import NSGAIISampler

    return NSGAIISampler(seed=draw.seed, population_size=population)
