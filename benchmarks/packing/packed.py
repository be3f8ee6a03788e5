"""Many adapters in one process, trained packed: `workers.packing`, which older versions lack."""

import time
from collections.abc import Callable
from importlib import import_module
from importlib.util import find_spec
from typing import Any

from benchmarks.packing import plain
from benchmarks.packing.case import Case, samples
from workers.families.base import Base
from workers.recipe import Recipe
from workers.training.loop import Examples


def is_here() -> bool:
    """Tell whether this version of the project can train packed."""
    return find_spec("workers.packing") is not None


def loop(base: Base, case: Case, slots: int) -> Callable[[int], None]:
    """Open a pack of so many adapters; return what trains each for a number of steps."""
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

    return steps


def train(base: Base, case: Case, slots: int, go: Callable[[], object]) -> float:
    """Return the seconds in which each of `slots` adapters does ``case.steps`` steps."""
    steps = loop(base, case, slots)
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
    """Return the examples of all slots, whose images are made ready here and not in a step."""
    make: Any = Examples.of
    stores = [import_module("workers.features.store").Store.of(base)] if _has_features() else []
    examples: Examples = make(base, samples(), None, *stores)
    examples.pixels.of(range(len(examples.samples)))
    return examples


def _has_features() -> bool:
    """Tell whether this version of the project keeps what a frozen image encoder makes."""
    return find_spec("workers.features") is not None
