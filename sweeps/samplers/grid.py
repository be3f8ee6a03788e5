"""All points of a finite space, each once, in an order that the seed decides.

Optuna's BruteForceSampler: unlike its GridSampler it knows conditions, keeps nothing but the
trials themselves, and leaves out what running trials have.
"""

import math
import warnings
from collections.abc import Iterable
from typing import Any

from search_spaces.issues import Issue
from search_spaces.space import Space
from sweeps.samplers import Draw

LEARNS_FROM_STOPPED = True  # it learns nothing anyway
SEVERAL_OBJECTIVES = True
TAKES_CONDITIONS = True
TAKES_WIDER_SPACE = False


def make(draw: Draw) -> Any:
    """Return a sampler that draws what no trial has had yet."""
    from optuna.exceptions import ExperimentalWarning
    from optuna.samplers import BruteForceSampler

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)
        return BruteForceSampler(seed=draw.seed)


def issues(space: Space) -> Iterable[Issue]:
    """Yield the continuous domains."""
    for path, domain in space.items():
        if math.isinf(domain.size()):
            must = "must have a finite number of values for grid: choices, whole numbers or a step"
            yield Issue((path,), must, str(domain))
