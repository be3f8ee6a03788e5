"""GIT against its own processor."""

import torch

from workers.encoding import collation
from workers.families.prompts import Prompt, PromptBuilder
from workers.models.loading import load_base
from workers.recipe import Model


def test_a_batch_is_that_of_the_models_own_processor(checkpoints, picture):
    base = load_base(Model(base=str(checkpoints("git"))), "none", torch.device("cpu"))
    captions = ["a disc", "crimson disc beside azure box"]
    own = base.processor(images=[picture] * 2, text=captions, padding=True, return_tensors="pt")
    image, empty = base.family.encode(base, picture), PromptBuilder().build(base.family, None, "it")
    assert empty == Prompt(system=None, text="")
    batch = collation.training_batch(base, [image] * 2, [empty] * 2, captions)
    assert "token_type_ids" not in batch  # generate refuses them
    assert torch.equal(batch["input_ids"], own["input_ids"])
    assert torch.equal(batch["attention_mask"], own["attention_mask"])
    assert torch.equal(batch["pixel_values"], own["pixel_values"])
