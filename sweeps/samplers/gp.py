"""Gaussian process with expected improvement, Optuna's own; takes about a second per point."""

from collections.abc import Iterable
from typing import Any

from search_spaces.issues import Issue
from search_spaces.space import Space
from sweeps.samplers.draw import Draw, conditional_issues
from workers.recipe import Count

LEARNS_FROM_STOPPED = False
SEVERAL_OBJECTIVES = True
TAKES_WIDER_SPACE = False


def make(draw: Draw, *, startup_trials: Count = 10) -> Any:
    """Return Optuna's GPSampler; points of running trials are known to it.

    Args:
        draw: which point it is for.
        startup_trials: completed trials before the model is asked; points are random until then.
    """
    from optuna.samplers import GPSampler

    return GPSampler(
        seed=draw.seed, n_startup_trials=startup_trials, warn_independent_sampling=False
    )


def issues(space: Space) -> Iterable[Issue]:
    """Yield conditional domains."""
    return conditional_issues("gp", space)
