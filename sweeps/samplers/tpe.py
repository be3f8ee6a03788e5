"""Tree-structured Parzen estimator (Bergstra et al. 2011), Optuna's own."""

from typing import Any

from sweeps.samplers import Draw
from workers.recipe import Count

LEARNS_FROM_STOPPED = True
SEVERAL_OBJECTIVES = True
TAKES_CONDITIONS = True
TAKES_WIDER_SPACE = True


def make(draw: Draw, *, startup_trials: Count = 10, candidates: Count = 24) -> Any:
    """Return Optuna's TPE; running trials count as bad ones (constant liar).

    Args:
        startup_trials: random points before the model is used. Refused points have no scores
            and do not count.
        candidates: points of which the most promising one is proposed.
    """
    from optuna.samplers import TPESampler

    return TPESampler(
        seed=draw.seed, n_startup_trials=startup_trials + draw.refused, n_ei_candidates=candidates
    )
