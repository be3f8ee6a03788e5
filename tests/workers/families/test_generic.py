"""Architectures without a family of their own."""

import pytest
import torch

from workers import families
from workers.encoding import collation
from workers.families.base import IMAGE_TOKENS
from workers.families.prompts import Prompt
from workers.models.loading import load_base
from workers.recipe import Model

PROMPT = Prompt(system=None, text="What is it?")
CPU = torch.device("cpu")


@pytest.fixture
def base(llava):
    with pytest.warns(UserWarning, match=r"model\.base is of type 'llava'.*chat template"):
        return load_base(Model(base=str(llava)), "none", CPU)


def test_prompts_are_those_of_the_models_own_processor(base, picture):
    image = base.family.encode(base, picture)
    text = base.family.rendered(base, PROMPT)
    own = base.processor(images=[picture], text=[text], return_tensors="pt")
    inputs = collation.generation_inputs(base, [image], [PROMPT])
    assert IMAGE_TOKENS not in inputs
    assert torch.equal(inputs["input_ids"], own["input_ids"])
    assert torch.equal(inputs["pixel_values"], own["pixel_values"])


def test_a_processor_without_chat_template_is_refused(base):
    base.processor.chat_template = None
    with pytest.raises(ValueError, match=r"'llava'; supported are blip-2, git.*no chat template"):
        base.family.check(base)


def test_target_sets_are_known_without_loading_a_model():
    assert families.get("unheard-of").TARGETS.keys() >= {"text", "text_all", "vision", "all"}
