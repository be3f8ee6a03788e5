"""A pack trains each of its slots as plain peft trains it alone."""

import pytest
import torch

from workers.models.loading import load_base
from workers.packing.pack import Pack
from workers.training.loop import steps_per_epoch

CPU = torch.device("cpu")
VARIED = [
    {"adapter.rank": 4, "train.learning_rate": 1e-2, "train.batch_size": 5, "train.epochs": 14},
    {"adapter.rank": 8, "adapter.alpha": 4.0, "train.learning_rate": 3e-3, "train.seed": 1,
     "train.batch_size": 2, "train.epochs": 7},
    {"adapter.rank": 20, "train.batch_size": 1, "adapter.targets": "text", "train.seed": 2,
     "train.epochs": 4},
    {"adapter.rank": 3, "adapter.variant": "rslora", "train.accumulate": 2, "train.epochs": 14,
     "train.batch_size": 2, "train.weight_decay": 0.1, "train.decay": "cosine",
     "train.label_smoothing": 0.1},
]  # fmt: skip
"""Points of four trials."""
LEAST_STEPS = 40


FAMILIES = ["git", "blip2-opt", "blip2-t5", "qwen2_5_vl", "paligemma"]
IN_TIME = [("git", "none"), ("qwen2_5_vl", "none")]


def _marked(family, quantization):
    marks = () if (family, quantization) in IN_TIME else pytest.mark.slow
    return pytest.param(family, quantization, marks=marks)


@pytest.fixture
def equal_plain_peft(make_recipe, checkpoints, examples_of, train_pack, train_plain,
                     product_distance):  # fmt: skip
    """Return a function that trains points packed and with plain peft, and compares."""

    def check(family, points, **fields):
        recipes = {
            f"trial-{number}": make_recipe(checkpoints(family), **{**point, **fields})
            for number, point in enumerate(points)
        }
        first = recipes["trial-0"]
        base = load_base(first.model, first.quantization, CPU)
        pack, examples = Pack(base), examples_of(base, first)
        losses = train_pack(pack, recipes, examples)
        for name, recipe in recipes.items():
            steps = recipe.train.epochs * steps_per_epoch(len(examples.pairs), recipe.train)
            assert steps >= LEAST_STEPS
            expected, products = train_plain(recipe)
            assert losses[name] == pytest.approx(expected, abs=1e-4)
            assert product_distance(pack, name, products) < 1e-4

    return check


@pytest.mark.parametrize(
    ("family", "quantization"), [_marked(f, q) for f in FAMILIES for q in ("none", "nf4", "int8")]
)
def test_each_slot_trains_as_plain_peft_does_alone(family, quantization, equal_plain_peft):
    equal_plain_peft(family, VARIED, quantization=quantization)


def test_adapted_heads_train_as_with_plain_peft(equal_plain_peft):
    """Beside one that leaves the head alone."""
    heads = [{**point, "adapter.targets": "text_all_head"} for point in VARIED[:2]]
    equal_plain_peft("git", [*heads, VARIED[2]])


@pytest.mark.slow
@pytest.mark.parametrize("family", ["git", "blip2-opt", "paligemma"])
def test_adapted_image_encoders_train_as_with_plain_peft(family, equal_plain_peft):
    """Beside one that adapts the text alone: the images are read as pixels for all."""
    seen = [{**VARIED[0], "adapter.targets": "vision"}, {**VARIED[1], "adapter.targets": "all"}]
    equal_plain_peft(family, [*seen, VARIED[2]])
