"""Independent random points: the baseline that every other sampler must beat."""

from typing import Any


def make(seed: int | None) -> Any:
    """Return Optuna's random sampler."""
    from optuna.samplers import RandomSampler

    return RandomSampler(seed=seed)
