"""Gaussian process with expected improvement, Optuna's own; takes about a second per point."""

from typing import Any

from sweeps.samplers import Draw
from workers.recipe import Count

LEARNS_FROM_STOPPED = False
SEVERAL_OBJECTIVES = True
TAKES_CONDITIONS = False
TAKES_WIDER_SPACE = False


def make(draw: Draw, *, startup_trials: Count = 10) -> Any:
    """Return Optuna's GPSampler; points of running trials are known to it.

    Args:
        startup_trials: completed trials before the model is used; points are random until then.
    """
    from optuna.samplers import GPSampler

    return GPSampler(
        seed=draw.seed, n_startup_trials=startup_trials, warn_independent_sampling=False
    )
