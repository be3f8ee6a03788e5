"""Tiny checkpoints: real files, loaded by the usual classes."""

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModelForImageTextToText, AutoProcessor

from workers.tiny.checkpoints import VARIANTS, build


@pytest.mark.parametrize("variant", VARIANTS)
def test_they_are_loaded_by_the_usual_classes(checkpoints, variant):
    folder = checkpoints(variant)
    model = AutoModelForImageTextToText.from_pretrained(folder)
    assert sum(parameter.numel() for parameter in model.parameters()) < 200_000
    if variant != "qwen2_5_vl":  # whose processor wants torchvision for its videos
        assert AutoProcessor.from_pretrained(folder).tokenizer("a disc")["input_ids"]


@pytest.mark.parametrize("variant", VARIANTS)
def test_their_tokenizers_spell_any_text(checkpoints, variant):
    from workers.models.loading import load_base
    from workers.recipe import Model

    base = load_base(Model(base=str(checkpoints(variant))), "none", torch.device("cpu"))
    tokenizer = base.processor.tokenizer
    for text in ("crimson disc beside azure box", "zygote 34 gram"):
        tokens = tokenizer(text, add_special_tokens=False)["input_ids"]
        assert tokenizer.decode(tokens).strip() == text


def test_a_seed_decides_the_weights_and_leaves_the_process_alone(tmp_path):
    state = torch.get_rng_state()
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        build("paligemma", tmp_path / name, seed)
    assert torch.equal(torch.get_rng_state(), state)
    first, same, other = (load_file(tmp_path / name / "model.safetensors") for name in "abc")
    assert all(torch.equal(first[key], same[key]) for key in first)
    assert not all(torch.equal(first[key], other[key]) for key in first)


def test_an_unknown_variant_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"one of git, blip2-opt, .*; got 'clip'"):
        build("clip", tmp_path)
