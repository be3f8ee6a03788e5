"""BLIP-2: image tokens, ends of text, and the older checkpoints."""

import pytest
import torch

from workers.encoding import collation
from workers.families.prompts import Prompt
from workers.models.loading import load_base
from workers.recipe import Model
from workers.tiny.checkpoints import QUERIES

PROMPT = Prompt(system=None, text="a photo of")


@pytest.fixture(params=["blip2-opt", "blip2-t5"])
def base(request, checkpoints):
    return load_base(Model(base=str(checkpoints(request.param))), "none", torch.device("cpu"))


@pytest.fixture
def image(base, picture):
    return base.family.encode(base, picture)


def test_prompts_are_those_of_the_models_own_processor(base, image, picture):
    own = base.processor(images=picture, text="a photo of", return_tensors="pt")
    tokens = base.family.prompt_tokens(base, image, PROMPT)
    expected = own["input_ids"][0].tolist()
    if not base.encoder_decoder and base.processor.tokenizer.bos_token_id not in expected:
        expected.insert(QUERIES, base.processor.tokenizer.bos_token_id)
    assert tokens == expected
    assert torch.equal(image["pixel_values"], own["pixel_values"])


def test_processors_without_num_query_tokens_see_the_image_all_the_same(base, image):
    """Such a processor, as old checkpoints have, makes no image tokens and ignores the image."""
    base.processor.num_query_tokens = None
    batch = collation.training_batch(base, [image] * 2, [PROMPT] * 2, ["a disc", "zebra"])
    tokens = batch["input_ids"] == base.model.config.image_token_id
    assert tokens.sum() == 2 * QUERIES


@pytest.mark.parametrize("token", [None, 1_000_000])
def test_a_config_without_image_token_is_refused(base, token):
    base.model.config.image_token_id = token
    with pytest.raises(ValueError, match=rf"model\.base: .*image_token_index .* got {token}"):
        base.family.check(base)


def test_opt_learns_the_end_at_which_it_stops(checkpoints):
    """That is not the tokenizer's own end of text."""
    base = load_base(Model(base=str(checkpoints("blip2-opt"))), "none", torch.device("cpu"))
    end = base.family.target_tokens(base, PROMPT, "a disc")[-1]
    assert end == base.model.generation_config.eos_token_id
    assert end != base.processor.tokenizer.eos_token_id
    base.model.generation_config.eos_token_id = [7, 8]
    assert base.family.target_tokens(base, PROMPT, "a disc")[-1] == 7


def test_t5_generates_without_a_prompt(checkpoints, picture):
    """`generate` with an image alone would ask T5 for a start token that it does not have."""
    from workers.evaluation.generation import generate

    base = load_base(Model(base=str(checkpoints("blip2-t5"))), "none", torch.device("cpu"))
    images = [base.family.encode(base, picture)]
    empty = [Prompt(system=None, text="")]
    assert len(generate(base, base.model, images, empty, beams=1, max_new_tokens=3)) == 1
