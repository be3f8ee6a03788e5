import random

import pytest
import torch

from workers.models.loading import load_base
from workers.packing.epoch import SlotExamples
from workers.packing.model import micro_batch, training_batch

CPU = torch.device("cpu")


@pytest.mark.parametrize("family", ["git", "blip2-t5"])
def test_rows_that_fill_up_a_slot_teach_nothing(family, checkpoints, make_recipe, examples_of):
    recipe = make_recipe(checkpoints(family))
    base = load_base(recipe.model, "none", CPU)
    examples = examples_of(base, recipe)

    def taken(*positions):
        rows, images = examples.rows(positions), examples.images(positions)
        return SlotExamples(images=images, rows=rows, keys=tuple(positions), tokens=9)

    batch = training_batch(base, [taken(4), taken(0, 1, 2)], 3)
    own = examples.batch(base, [4, 0, 1, 2])
    kept = torch.tensor([0, 3, 4, 5])
    tokens = own["labels"].shape[1]
    assert torch.equal(batch["labels"][kept][:, :tokens], own["labels"])
    assert bool((batch["labels"][[1, 2]] == -100).all())
    assert bool((batch["labels"][kept] != -100).any(dim=1).all())
    for key in own.keys() - {"labels"}:  # the fillers are rows like others: nothing is empty
        assert torch.equal(batch[key][kept], own[key])
        assert torch.equal(batch[key][[1, 2]], own[key][[0, 0]])


@pytest.fixture
def draws():
    """Rows that slots have left and the most that fit, a thousand times."""
    dice = random.Random(0)
    return [
        ([dice.randint(1, 64) for _ in range(dice.randint(1, 12))], dice.randint(1, 64))
        for _ in range(1000)
    ]


def test_a_pass_has_no_more_rows_than_fit_and_none_that_nobody_needs(draws):
    for remaining, most in draws:
        size = micro_batch(remaining, most)
        assert min(most, *remaining) <= size <= min(most, max(remaining))


def test_slots_with_equally_many_rows_are_never_filled_up(draws):
    for (rows, *others), most in draws:
        assert micro_batch([rows] * (len(others) + 1), most) == min(rows, most)


def test_one_large_batch_among_many_small_ones_is_cut_into_passes():
    assert micro_batch([64, *[2] * 11], 64) == 2
    assert micro_batch([3, 2], 64) == 3  # a second pass would cost more than one row of filling
