"""PaliGemma: the prefix sees itself, the caption does not see ahead."""

import pytest
import torch

from workers.encoding import collation
from workers.families.prompts import Prompt
from workers.models.loading import load_base
from workers.recipe import Model

PROMPT = Prompt(system=None, text="caption en")


@pytest.fixture
def base(checkpoints):
    return load_base(Model(base=str(checkpoints("paligemma"))), "none", torch.device("cpu"))


def test_a_batch_is_that_of_the_models_own_processor(base, picture):
    """Tokens, types, labels and pixels, for captions of different lengths."""
    captions = ["a disc", "crimson disc beside azure box"]
    own = base.processor(
        images=[[picture], [picture]], text=["<image>caption en"] * 2, suffix=captions,
        return_tensors="pt", padding=True, padding_side="right",
    )  # fmt: skip
    image = base.family.encode(base, picture)
    batch = collation.training_batch(base, [image] * 2, [PROMPT] * 2, captions)
    real = batch["attention_mask"] == 1
    assert torch.equal(batch["attention_mask"], own["attention_mask"])
    assert torch.equal(batch["input_ids"], own["input_ids"])
    assert torch.equal(batch["labels"][real], own["labels"][real])
    assert torch.equal(batch["token_type_ids"][real], own["token_type_ids"][real])
    assert torch.equal(batch["pixel_values"], own["pixel_values"])


def test_the_prompt_for_generation_is_that_of_the_models_own_processor(base, picture):
    own = base.processor(images=[[picture]], text=["<image>caption en"], return_tensors="pt")
    image = base.family.encode(base, picture)
    inputs = collation.generation_inputs(base, [image], [PROMPT])
    assert torch.equal(inputs["input_ids"], own["input_ids"])
    assert not inputs["token_type_ids"].any()


def test_a_processor_for_another_image_size_is_refused(base):
    base.processor.image_seq_length = 9
    with pytest.raises(ValueError, match=r"model\.base: .*image_seq_length must be 16.* got 9"):
        base.family.check(base)
