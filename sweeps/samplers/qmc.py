"""Quasi-random points (scrambled Sobol sequence): as independent of scores as random ones, but
spread more evenly. The first point is random."""

import warnings
from typing import Any, Literal

from sweeps.samplers import Draw

LEARNS_FROM_STOPPED = True  # it learns nothing anyway
SEVERAL_OBJECTIVES = True
TAKES_CONDITIONS = False
TAKES_WIDER_SPACE = False


def make(draw: Draw, *, sequence: Literal["sobol", "halton"] = "sobol") -> Any:
    """Return Optuna's QMCSampler.

    All draws of a sweep share one sequence, so its seed is the sweep's; how far it has come
    lies in the study.
    """
    from optuna.exceptions import ExperimentalWarning
    from optuna.samplers import QMCSampler, RandomSampler

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)
        return QMCSampler(
            qmc_type=sequence,
            scramble=True,
            seed=draw.sweep_seed,
            independent_sampler=RandomSampler(seed=draw.seed),
            warn_independent_sampling=False,
        )
