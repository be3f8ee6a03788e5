"""Many adapters in one process, trained packed by `workers.packing`."""

from collections.abc import Callable

from benchmarks.packing.case import Case, samples
from workers.families.base import Base
from workers.features.store import Store
from workers.packing.pack import Pack
from workers.recipe import Recipe
from workers.training.loop import Examples


def loop(base: Base, case: Case, slots: int) -> Callable[[int], None]:
    """Open a pack of so many adapters; return what trains each for a number of steps."""
    pack = Pack(base)
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
    """Return the examples of all slots, which are made ready here and not in a step."""
    examples = Examples.of(base, samples(), None, Store.of(base))
    examples.pixels.of(range(len(examples.samples)))
    examples.rows(range(len(examples.pairs)))
    return examples
