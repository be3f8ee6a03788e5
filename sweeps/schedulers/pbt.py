"""Population based training (Jaderberg et al. 2017) in its synchronous form, with Tune's selection.

All trials are one population. Every few rungs they wait for each other; then the worst take over
the weights and the optimizer of the best, and continue with a changed point. A waiting trial holds
no slot, so any number of slots is enough. `sweeps.schedulers.evolution` describes what is Tune's.
"""

from typing import Annotated, Any

from pydantic import Field

from workers.recipe import Count, Fraction

STOPS = False
PAUSES = True
CHANGES = True


def make(
    epochs: int,
    grace: int,
    reduction: int,
    *,
    perturbation_interval: Count = 2,
    quantile: Annotated[float, Field(gt=0.0, le=0.5)] = 0.25,
    resample: Fraction = 0.25,
    fields: Annotated[tuple[str, ...], Field(min_length=1, strict=False)] | None = None,
) -> Any:
    """Return PBT, which compares its trials at rungs `perturbation_interval` apart.

    Args:
        epochs: rungs of each trial; the last one has no comparison.
        grace: rungs that every trial gets before the first comparison.
        reduction: not needed.
        perturbation_interval: rungs from one comparison to the next.
        quantile: fraction of the trials that take over the state of as many of the best.
        resample: probability that a field is sampled again from its domain; otherwise a number is
            multiplied by 0.8 or 1.2, and one of several values becomes a neighbouring one.
        fields: what may change; None is every swept field that can change during training.
    """
    from sweeps.schedulers.pbt_scheduler import PopulationScheduler

    return PopulationScheduler(
        first=max(grace, perturbation_interval),
        interval=perturbation_interval,
        epochs=epochs,
        quantile=quantile,
        resample=resample,
        fields=fields,
    )
