"""Many adapters in one process, trained packed: `workers.packing`, which older versions lack."""

import time
from collections.abc import Callable
from importlib import import_module
from importlib.util import find_spec
from typing import Any

from benchmarks.packing import plain
from benchmarks.packing.case import Case, samples
from workers.models import Base
from workers.recipe import Recipe
from workers.training import Examples


def is_here() -> bool:
    """Tell whether this version of the project can train packed."""
    return find_spec("workers.packing") is not None


def train(base: Base, case: Case, slots: int, go: Callable[[], object]) -> float:
    """Return the seconds in which each of `slots` adapters does ``case.steps`` steps."""
    pack: Any = import_module("workers.packing.pack").Pack(base)
    examples, names = _examples(base), [f"trial-{number}" for number in range(slots)]
    for seed, name in enumerate(names):
        pack.admit(name, _recipe(case, seed))

    def steps(count: int) -> None:
        for _ in range(count):
            if not pack.busy:  # an epoch is over
                for name in names:
                    pack.begin(name, examples)
            pack.step()

    steps(case.warmup)
    plain.finish(case)
    go()
    started = time.perf_counter()
    steps(case.steps)
    plain.finish(case)
    return time.perf_counter() - started


def _recipe(case: Case, seed: int) -> Recipe:
    return Recipe.model_validate(
        {
            "model": {"base": case.folder},
            "data": {"source": "shapes"},
            "quantization": case.quantization,
            "train": {
                "batch_size": case.batch, "epochs": 1_000_000, "learning_rate": 1e-4, "seed": seed,
            },
            "adapter": {"rank": case.rank, "alpha": float(case.rank), "dropout": case.dropout},
        }
    )  # fmt: skip


def _examples(base: Base) -> Examples:
    """Return the examples of all slots, with features in place of pixels where they are known."""
    if find_spec("workers.features") is None:
        return Examples.of(base, samples())
    make: Any = Examples.of
    examples: Examples = make(
        base, samples(), None, import_module("workers.features.store").Store.of(base)
    )
    return examples
