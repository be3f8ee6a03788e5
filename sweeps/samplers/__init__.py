"""Samplers, which propose points: one file and one line here per sampler.

Each module offers ``make(seed: int | None, *, ...) -> optuna.samplers.BaseSampler``; its
keyword-only parameters are what ``search.sampler.options`` may hold.
"""

from collections.abc import Mapping
from importlib import import_module
from typing import Any

MODULES = {
    "random": "sweeps.samplers.random",
    "tpe": "sweeps.samplers.tpe",
}
NAMES = tuple(MODULES)


def make(name: str, seed: int | None, options: Mapping[str, Any]) -> Any:
    """Return the Optuna sampler called `name`; raises TypeError for an option it has not."""
    return import_module(MODULES[name]).make(seed, **options)
