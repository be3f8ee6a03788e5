"""Schedulers, which stop or continue trials: one file and one line here per scheduler.

Each module offers ``make(epochs, grace, reduction)`` and returns one of Ray Tune's own.
"""

from importlib import import_module
from typing import Any

MODULES = {
    "asha": "sweeps.schedulers.asha",
    "fifo": "sweeps.schedulers.fifo",
}
NAMES = tuple(MODULES)


def make(name: str, *, epochs: int, grace: int, reduction: float) -> Any:
    """Return Tune's scheduler called `name`, which compares ``objective`` at equal ``rung``."""
    return import_module(MODULES[name]).make(epochs, grace, reduction)
