"""Tree-structured Parzen estimator (Bergstra et al. 2011), Optuna's own."""

from collections.abc import Iterable
from typing import Any

from search_spaces.issues import Issue
from search_spaces.space import Space
from sweeps.samplers.draw import Draw
from workers.recipe import Count

LEARNS_FROM_STOPPED = True
SEVERAL_OBJECTIVES = True
TAKES_WIDER_SPACE = True


def make(draw: Draw, *, startup_trials: Count = 10, candidates: Count = 24) -> Any:
    """Return Optuna's TPE; running trials count as bad ones (constant liar).

    Args:
        draw: which point it is for.
        startup_trials: random points before the model is asked. Refused points say nothing
            about scores and do not count.
        candidates: points of which the most promising one is proposed.
    """
    from optuna.samplers import TPESampler

    return TPESampler(
        seed=draw.seed,
        n_startup_trials=startup_trials + draw.refused,
        n_ei_candidates=candidates,
    )


def issues(space: Space) -> Iterable[Issue]:
    """Return nothing: it samples every space."""
    return ()
