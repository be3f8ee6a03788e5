"""Tree-structured Parzen estimator (Bergstra et al. 2011), Optuna's own."""

from typing import Any


def make(seed: int | None, *, startup_trials: int = 10, candidates: int = 24) -> Any:
    """Return Optuna's TPE; running trials count as bad ones (constant liar).

    Args:
        seed: makes a sweep with one slot repeatable.
        startup_trials: random points before the model is asked.
        candidates: points of which the most promising one is proposed.
    """
    from optuna.samplers import TPESampler

    return TPESampler(seed=seed, n_startup_trials=startup_trials, n_ei_candidates=candidates)
