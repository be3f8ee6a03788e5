"""Qwen2.5-VL: what is known of it beyond the other chat templates."""

import pytest
import torch
from PIL import Image

from workers.encoding import collation
from workers.families.prompts import Prompt
from workers.models.loading import load_base
from workers.recipe import Model

PROMPT = Prompt(system="Be brief.", text="What is it?")


@pytest.fixture
def base(checkpoints):
    return load_base(Model(base=str(checkpoints("qwen2_5_vl"))), "none", torch.device("cpu"))


@pytest.fixture
def image(base):
    return base.family.encode(base, Image.effect_noise((60, 120), 64).convert("RGB"))


def test_prompts_are_those_of_its_own_processor_with_a_system_prompt(base):
    picture = Image.effect_noise((90, 150), 64).convert("RGB")
    turns = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": [{"type": "image"}, {"type": "text", "text": "What is it?"}]},
    ]
    text = base.processor.apply_chat_template(turns, tokenize=False, add_generation_prompt=True)
    own = base.processor(images=[[picture]], text=[text], return_tensors="pt")
    inputs = collation.generation_inputs(base, [base.family.encode(base, picture)], [PROMPT])
    for name in ("input_ids", "pixel_values", "image_grid_thw", "mm_token_type_ids"):
        assert torch.equal(inputs[name], own[name]), name


def test_an_encoded_image_is_that_of_the_image_processor_alone(base, image):
    """Features that earlier versions have kept lie under its digest."""
    assert image.keys() == {"pixel_values", "image_grid_thw"}
    assert base.family.image_places(base, image) == len(image["pixel_values"]) // 4


def test_a_default_system_prompt_is_the_templates(base, image):
    tokens = base.family.prompt_tokens(base, image, Prompt(system=None, text="?"))
    assert "You are a helpful assistant." in base.processor.tokenizer.decode(tokens)
    tokens = base.family.prompt_tokens(base, image, PROMPT)
    assert "You are a helpful" not in base.processor.tokenizer.decode(tokens)


def test_types_of_tokens_are_kept_because_the_loss_needs_them(base, image):
    batch = collation.training_batch(base, [image], [PROMPT], ["a disc"])
    with torch.no_grad():
        right = base.model(**batch).loss.item()
        del batch["mm_token_type_ids"]
        assert base.model(**batch).loss.item() != right


def test_a_template_that_changes_the_prompt_once_answered_is_refused(base):
    base.processor.chat_template = (
        "{% if add_generation_prompt %}ask{% else %}told{% endif %}<|image_pad|>"
    )
    with pytest.raises(ValueError, match=r"model\.base: the chat template .*'told"):
        base.family.target_tokens(base, Prompt(system=None, text="?"), "a disc")
