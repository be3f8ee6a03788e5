"""Configs that become tiny: widths that fit together, and a layer of each kind."""

import pytest
from accelerate import init_empty_weights
from transformers import AutoConfig, AutoModelForImageTextToText
from transformers.models.auto.configuration_auto import CONFIG_MAPPING_NAMES

from workers.tiny.shrunk import WIDTH, shrunk

ARCHITECTURES = (
    "aria", "aya_vision", "florence2", "gemma3", "gemma4", "glm4v_moe", "idefics3", "internvl",
    "kimi_k25", "lfm2_vl", "llama4", "llava_onevision", "minicpmv4_6", "mistral3", "mllama",
    "molmo2", "ovis2", "qwen2_5_vl", "qwen3_5_moe", "qwen3_vl", "smolvlm", "t5gemma2",
)  # fmt: skip
"""Of these, the default config has the sizes of a real model."""


@pytest.mark.parametrize("kind", ARCHITECTURES)
def test_a_real_size_becomes_a_tiny_one_with_its_vocabulary(kind):
    if kind not in CONFIG_MAPPING_NAMES:
        pytest.skip(f"the installed transformers has no {kind}")
    config = AutoConfig.for_model(kind)
    text = config.get_text_config()
    if (getattr(text, "pad_token_id", None) or 0) >= text.vocab_size:
        pytest.skip(f"the installed transformers' default config of {kind} makes no model")
    with init_empty_weights():
        model = AutoModelForImageTextToText.from_config(
            AutoConfig.for_model(**shrunk(config.to_dict()))
        )
    text = model.config.get_text_config()
    assert text.vocab_size == config.get_text_config().vocab_size
    rows = (text.vocab_size, text.vocab_size + 8)  # Llama's has eight more for images
    others = (own for own in model.parameters() if own.shape[0] not in rows)
    assert max(own.shape[-1] for own in others if own.dim() == 2) < 2**18
    assert sum(own.numel() for own in model.parameters()) < 80e6


def test_one_layer_of_each_kind_stays():
    kinds = ["sliding_attention", "sliding_attention", "full_attention"] * 4
    part = {"num_hidden_layers": 12, "layer_types": kinds, "num_kv_shared_layers": 0}
    assert shrunk(part) == {**part, "num_hidden_layers": 2, "layer_types": kinds[1:3]}


def test_layers_are_told_apart_by_all_that_is_said_of_them():
    part = {
        "num_hidden_layers": 6,
        "layer_types": ["conv", "conv", "full", "conv", "conv", "full"],
        "first_k_dense_replace": 1,
        "cross_attention_layers": [2, 4],
        "per_layer_config": {"05": {"head_dim": 512}},
    }
    assert shrunk(part) == {
        "num_hidden_layers": 5,  # a dense one, conv, full that reads images, conv that does, full
        "layer_types": ["conv", "conv", "full", "conv", "full"],
        "first_k_dense_replace": 1,
        "cross_attention_layers": [2, 3],
        "per_layer_config": {4: {"head_dim": 16}},
    }


def test_equal_layers_are_two_so_that_one_reads_the_other():
    assert shrunk({"num_hidden_layers": 40}) == {"num_hidden_layers": 2}
    assert shrunk({"depth": 1}) == {"depth": 1}


def test_widths_or_layers_may_stay():
    part = {"hidden_size": 4096, "num_hidden_layers": 32, "quantization_config": {"bits": 4}}
    assert shrunk(part, layers=False) == {"hidden_size": WIDTH, "num_hidden_layers": 32}
    assert shrunk(part, widths=False) == {"hidden_size": 4096, "num_hidden_layers": 2}


def test_what_the_processor_knows_stays():
    part = {"vocab_size": 256_000, "image_size": 448, "patch_size": 14, "spatial_merge_size": 2}
    assert shrunk(part) == part


@pytest.mark.parametrize(
    ("sections", "small"),
    [([24, 20, 20], [4, 2, 2]), ([16, 24, 24], [2, 3, 3]), ([22, 22, 20], [3, 3, 2])],
)
def test_rotary_sections_fill_the_heads_and_stay_equal_where_they_were(sections, small):
    part = {"head_dim": 128, "rope_parameters": {"mrope_section": sections}}
    assert shrunk(part)["rope_parameters"] == {"mrope_section": small}


def test_heads_that_rotate_in_part_are_wider():
    rope = {"mrope_section": [11, 11, 10], "partial_rotary_factor": 0.25}
    small = shrunk({"head_dim": 256, "rope_parameters": rope})
    assert small["head_dim"] == 64
    assert small["rope_parameters"]["mrope_section"] == [3, 3, 2]


def test_experts_are_few_and_heads_share_keys_as_before():
    part = {"num_experts": 128, "num_experts_per_tok": 8, "num_attention_heads": 32}
    assert shrunk({**part, "num_key_value_heads": 4}) == {
        "num_experts": 4, "num_experts_per_tok": 2,
        "num_attention_heads": 2, "num_key_value_heads": 1,
    }  # fmt: skip
    alike = {"num_attention_heads": 32, "num_key_value_heads": 32}
    assert shrunk(alike)["num_key_value_heads"] == 2
