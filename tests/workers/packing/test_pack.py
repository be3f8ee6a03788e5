"""A pack trains each of its slots as plain peft trains it alone."""

import pytest
import torch

from workers.models import load_base
from workers.packing.pack import Pack

CPU = torch.device("cpu")
VARIED = [
    {"adapter.rank": 4, "train.learning_rate": 1e-2, "train.batch_size": 4},
    {"adapter.rank": 8, "adapter.alpha": 4.0, "train.learning_rate": 3e-3, "train.seed": 1},
    {"adapter.rank": 20, "train.batch_size": 2, "adapter.targets": "text", "train.seed": 2},
    {"adapter.rank": 3, "adapter.variant": "rslora", "train.accumulate": 2,
     "train.weight_decay": 0.1, "train.decay": "cosine", "train.label_smoothing": 0.1},
]  # fmt: skip
"""Points of four trials with 24 training captions: 12, 12, 24 and 6 steps per epoch."""


FAMILIES = ["git", "blip2-opt", "blip2-t5", "qwen2_5_vl", "paligemma"]


@pytest.mark.parametrize("quantization", ["none", "nf4"])
@pytest.mark.parametrize("family", FAMILIES)
def test_each_slot_trains_as_plain_peft_does_alone(
    family,
    quantization,
    checkpoints,
    make_recipe,
    examples_of,
    train_pack,
    train_plain,
    product_distance,
):
    recipes = {
        f"trial-{number}": make_recipe(checkpoints(family), quantization=quantization, **point)
        for number, point in enumerate(VARIED)
    }
    base = load_base(recipes["trial-0"].model, quantization, CPU)
    pack = Pack(base)
    losses = train_pack(pack, recipes, examples_of(base, recipes["trial-0"]))
    for name, recipe in recipes.items():
        expected, products = train_plain(recipe)
        assert losses[name] == pytest.approx(expected, abs=1e-4)
        assert product_distance(pack, name, products) < 1e-4
