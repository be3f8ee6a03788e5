"""Asynchronous successive halving (Li et al. 2020), Tune's own."""

from typing import Any

STOPS = True
PAUSES = False
CHANGES = False


def make(epochs: int, grace: int, reduction: int) -> Any:
    """Return ASHA: at rung grace, grace * reduction, ... the best 1 / reduction continue."""
    from ray.tune.schedulers import AsyncHyperBandScheduler

    return AsyncHyperBandScheduler(
        time_attr="rung", max_t=epochs, grace_period=grace, reduction_factor=reduction
    )
