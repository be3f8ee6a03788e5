"""Qwen2.5-VL: chat template, images of different sizes, and life without torchvision."""

import json

import pytest
import torch
from PIL import Image

from workers.encoding import collation
from workers.evaluation.generation import generate
from workers.families.prompts import Prompt
from workers.models.loading import load_base
from workers.recipe import Model

PROMPT = Prompt(system="Be brief.", text="What is it?")


@pytest.fixture
def base(checkpoints):
    return load_base(Model(base=str(checkpoints("qwen2_5_vl"))), "none", torch.device("cpu"))


def sized(base, width, height):
    image = Image.effect_noise((width, height), 64).convert("RGB")
    return image, base.family.encode(base, image)


def test_the_saved_processor_has_the_models_own_name(checkpoints):
    """By any other name `AutoProcessor` gives a bare tokenizer."""
    saved = json.loads((checkpoints("qwen2_5_vl") / "processor_config.json").read_text())
    assert saved["processor_class"] == "Qwen2_5_VLProcessor"


def test_prompts_are_those_of_the_models_own_processor(base):
    picture, image = sized(base, 90, 150)
    turns = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": [{"type": "image"}, {"type": "text", "text": "What is it?"}]},
    ]
    text = base.processor.apply_chat_template(turns, tokenize=False, add_generation_prompt=True)
    own = base.processor(images=[[picture]], text=[text], return_tensors="pt")
    inputs = collation.generation_inputs(base, [image], [PROMPT])
    for name in ("input_ids", "pixel_values", "image_grid_thw", "mm_token_type_ids"):
        assert torch.equal(inputs[name], own[name]), name


def test_a_default_system_prompt_is_the_templates(base):
    _, image = sized(base, 60, 60)
    tokens = base.family.prompt_tokens(base, image, Prompt(system=None, text="?"))
    assert "You are a helpful assistant." in base.processor.tokenizer.decode(tokens)
    tokens = base.family.prompt_tokens(base, image, PROMPT)
    assert "You are a helpful" not in base.processor.tokenizer.decode(tokens)


def test_images_of_different_sizes_share_a_batch(base):
    images = [sized(base, 60, 60)[1], sized(base, 60, 120)[1]]
    sizes = [len(image["pixel_values"]) for image in images]
    assert sizes[0] < sizes[1]
    batch = collation.training_batch(base, images, [PROMPT] * 2, ["a disc", "zebra"])
    assert batch["pixel_values"].shape[0] == sum(sizes)
    counts = (batch["input_ids"] == base.processor.image_token_id).sum(dim=1)
    assert counts.tolist() == [size // 4 for size in sizes]
    together = generate(base, base.model, images, [PROMPT] * 2, beams=1, max_new_tokens=4)
    alone = [
        generate(base, base.model, [i], [PROMPT], beams=1, max_new_tokens=4)[0] for i in images
    ]
    assert together == alone


def test_types_of_tokens_are_kept_because_the_loss_needs_them(base):
    _, image = sized(base, 60, 120)
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
        base.family.target_tokens(base, PROMPT, "a disc")


def test_nothing_is_learned_behind_the_end_of_the_turn(base):
    tokens = base.family.target_tokens(base, PROMPT, "a disc")
    assert base.processor.tokenizer.decode(tokens) == "a disc<|im_end|>"
