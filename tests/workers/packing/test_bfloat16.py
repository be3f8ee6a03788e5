"""In bfloat16 a pack is as near to plain peft as plain peft is to itself.

Every sum is rounded, so a trial's losses depend on the order of its examples within an optimizer
step, which means nothing: on what is added first, and on who is padded to whose length in a
micro-batch. How much is its noise floor: the largest distance, over some orders, from the losses
in the usual one. A pack puts the same examples into other products, and must not part further
than twice that.
"""

import pytest
import torch

from workers.models.loading import load_base
from workers.packing.pack import Pack
from workers.training.loop import epoch_windows

ORDERS = 6
TRIALS = [
    {"adapter.rank": 4, "train.learning_rate": 1e-2, "train.batch_size": 3, "train.accumulate": 2},
    {"adapter.rank": 8, "adapter.alpha": 4.0, "train.learning_rate": 3e-3, "train.seed": 1,
     "train.batch_size": 2, "train.accumulate": 2},
    {"adapter.rank": 20, "adapter.targets": "text_all_head", "train.seed": 2,
     "train.batch_size": 1, "train.accumulate": 4},
    {"adapter.rank": 3, "adapter.variant": "rslora", "train.batch_size": 2, "train.accumulate": 3,
     "train.weight_decay": 0.1, "train.decay": "cosine", "train.label_smoothing": 0.1},
]  # fmt: skip


@pytest.fixture(autouse=True)
def one_thread():
    """Threads divide sums as they come; without them a run is the same every time."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def shuffled(order):
    """Return `epoch_windows` with the examples of each optimizer step in another order."""

    def windows(pairs, epoch, train):
        generator = torch.Generator().manual_seed(order * 1_000 + epoch)
        for window in epoch_windows(pairs, epoch, train):
            rows = torch.tensor([row for batch in window for row in batch])
            rows = rows[torch.randperm(len(rows), generator=generator)]
            yield [part.tolist() for part in rows.split([len(batch) for batch in window])]

    return windows


def apart(losses, reference):
    """Return the distance of two runs: the root of the mean squared difference of their losses."""
    differences = torch.tensor(losses) - torch.tensor(reference)
    return float(differences.square().mean().sqrt())


@pytest.mark.slow
@pytest.mark.parametrize("quantization", ["none", "nf4"])
def test_a_pack_parts_from_plain_peft_by_at_most_twice_the_noise(
    make_recipe, checkpoints, examples_of, train_pack, train_plain, product_distance, distance,
    quantization,
):  # fmt: skip
    fields = {"model.dtype": "bfloat16", "quantization": quantization, "train.epochs": 8}
    recipes = {
        f"trial-{number}": make_recipe(checkpoints("git"), **point, **fields)
        for number, point in enumerate(TRIALS)
    }
    base = load_base(recipes["trial-0"].model, quantization, torch.device("cpu"))
    pack = Pack(base)
    packed = train_pack(pack, recipes, examples_of(base, recipes["trial-0"]))
    found, floor = 0.0, 0.0
    for name, recipe in recipes.items():
        losses, products = train_plain(recipe)
        others = [train_plain(recipe, shuffled(order)) for order in range(ORDERS)]
        assert apart(packed[name], losses) <= 2 * max(apart(other, losses) for other, _ in others)
        found += product_distance(pack, name, products)
        floor += max(distance(other, products) for _, other in others)
    assert found <= 2 * floor  # over all: that of one trial hangs on single roundings
