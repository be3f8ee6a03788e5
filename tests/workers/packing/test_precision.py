"""Adapters in bfloat16 learn what those in float32 do, up to what a seed changes."""

import pytest
import torch

from workers.models.loading import load_base
from workers.packing.model import precision_of
from workers.packing.pack import Pack

CPU = torch.device("cpu")
STEPS = 200


def losses(recipe, precision, examples_of, train_pack):
    base = load_base(recipe.model, "none", CPU)
    pack = Pack(base, compute_dtype=precision)
    return train_pack(pack, {"trial": recipe}, examples_of(base, recipe))["trial"]


def test_after_200_steps_losses_differ_by_less_than_those_of_two_seeds(
    checkpoints, make_recipe, examples_of, train_pack
):
    """On a base in bfloat16, where it is the default on a GPU."""
    recipe = make_recipe(
        checkpoints("git"),
        **{"model.dtype": "bfloat16", "train.batch_size": 4, "train.epochs": STEPS // 3,
           "train.learning_rate": 2e-3},
    )  # fmt: skip
    plain = losses(recipe, "float32", examples_of, train_pack)
    rounded = losses(recipe, "bfloat16", examples_of, train_pack)
    other = losses(recipe.with_point({"train.seed": 1}), "float32", examples_of, train_pack)
    assert plain != rounded
    last = slice(-10, None)
    apart = [abs(a - b) for a, b in zip(plain[last], rounded[last], strict=True)]
    seeds = [abs(a - b) for a, b in zip(plain[last], other[last], strict=True)]
    assert sum(apart) < sum(seeds)
    assert plain[-1] < 0.5 * plain[0]


@pytest.mark.parametrize(
    ("field", "device", "dtype", "expected"),
    [
        ("auto", "cpu", "bfloat16", "float32"),
        ("auto", "cuda", "bfloat16", "bfloat16"),
        ("auto", "cuda", "float32", "float32"),
        ("tf32", "cuda", "bfloat16", "tf32"),
        ("tf32", "cpu", "float32", "float32"),
        ("bfloat16", "cpu", "float32", "bfloat16"),
    ],
)
def test_auto_is_float32_on_a_cpu_and_the_base_s_on_a_gpu(
    checkpoints, make_recipe, field, device, dtype, expected
):
    import dataclasses

    model = make_recipe(checkpoints("git"), **{"model.dtype": dtype}).model
    base = dataclasses.replace(load_base(model, "none", CPU), device=torch.device(device))
    assert precision_of(field, base) == expected
