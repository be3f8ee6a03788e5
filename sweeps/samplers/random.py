"""Independent random points: the baseline that every other sampler must beat."""

from collections.abc import Iterable
from typing import Any

from search_spaces.issues import Issue
from search_spaces.space import Space
from sweeps.samplers.draw import Draw

LEARNS_FROM_STOPPED = True  # it learns nothing anyway
SEVERAL_OBJECTIVES = True
TAKES_WIDER_SPACE = True


def make(draw: Draw) -> Any:
    """Return Optuna's random sampler."""
    from optuna.samplers import RandomSampler

    return RandomSampler(seed=draw.seed)


def issues(space: Space) -> Iterable[Issue]:
    """Return nothing: it samples every space."""
    return ()
