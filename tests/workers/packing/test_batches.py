import pytest
import torch

from workers.models.loading import load_base
from workers.packing import batches
from workers.packing.slot import SlotExamples

CPU = torch.device("cpu")


@pytest.mark.parametrize("family", ["git", "blip2-t5"])
def test_rows_that_fill_up_a_slot_teach_nothing(family, checkpoints, make_recipe, examples_of):
    recipe = make_recipe(checkpoints(family))
    base = load_base(recipe.model, "none", CPU)
    examples = examples_of(base, recipe)

    def taken(*positions):
        rows, images = examples.rows(positions), examples.images(positions)
        return SlotExamples(images=images, rows=rows, keys=tuple(positions), tokens=9)

    batch = batches.training_batch(base, [taken(4), taken(0, 1, 2)], 3)
    own = examples.batch(base, [4, 0, 1, 2])
    kept = torch.tensor([0, 3, 4, 5])
    tokens = own["labels"].shape[1]
    assert torch.equal(batch["labels"][kept][:, :tokens], own["labels"])
    assert bool((batch["labels"][[1, 2]] == -100).all())
    assert bool((batch["labels"][kept] != -100).any(dim=1).all())
    for key in own.keys() - {"labels"}:  # the fillers are rows like others: nothing is empty
        assert torch.equal(batch[key][kept], own[key])
        assert torch.equal(batch[key][[1, 2]], own[key][[0, 0]])
