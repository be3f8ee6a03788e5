"""Independent random points: the baseline that every other sampler must beat."""

from typing import Any

from sweeps.samplers import Draw

LEARNS_FROM_STOPPED = True  # it learns nothing anyway
SEVERAL_OBJECTIVES = True
TAKES_CONDITIONS = True
TAKES_WIDER_SPACE = True


def make(draw: Draw) -> Any:
    """Return Optuna's random sampler."""
    from optuna.samplers import RandomSampler

    return RandomSampler(seed=draw.seed)
