"""Samplers, which propose points: one file and one line here per sampler.

Each module offers

    make(draw: Draw, *, ...) -> optuna.samplers.BaseSampler
        its keyword-only parameters are what ``search.sampler.options`` may hold
    issues(space: Space) -> Iterable[Issue]
        domains that it cannot sample, by their paths
    LEARNS_FROM_STOPPED: bool
        whether it learns from trials that the scheduler stopped
    SEVERAL_OBJECTIVES: bool
        whether it can look for a Pareto front
    TAKES_WIDER_SPACE: bool
        whether it goes on when a resumed sweep has wider ranges than its earlier trials
"""

from collections.abc import Iterable, Mapping
from importlib import import_module
from typing import Any

from search_spaces.issues import Issue
from search_spaces.space import Space
from sweeps.samplers.draw import Draw

MODULES = {
    "random": "sweeps.samplers.random",
    "grid": "sweeps.samplers.grid",
    "tpe": "sweeps.samplers.tpe",
    "cmaes": "sweeps.samplers.cmaes",
    "gp": "sweeps.samplers.gp",
    "nsga2": "sweeps.samplers.nsga2",
    "qmc": "sweeps.samplers.qmc",
}
NAMES = tuple(MODULES)


def module(name: str) -> Any:
    """Return the module of the sampler called `name`; imports nothing heavy."""
    return import_module(MODULES[name])


def make(name: str, draw: Draw, options: Mapping[str, Any]) -> Any:
    """Return the Optuna sampler called `name`; raises TypeError for an option it has not."""
    return module(name).make(draw, **options)


def issues(name: str, space: Space) -> Iterable[Issue]:
    """Return what keeps the sampler called `name` from sampling a space."""
    found: Iterable[Issue] = module(name).issues(space)
    return found
