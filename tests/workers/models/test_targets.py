"""What is said of the layers that adapters reach."""

import pytest
import torch

from workers.models import checkpoint_files
from workers.models.loading import load_base
from workers.models.targets import adapted_layers, experts_note, peft_targets
from workers.recipe import Adapter, Model


def note(folder):
    files = checkpoint_files.find(str(folder), None)
    assert files is not None
    return experts_note(files.shapes)


def test_a_mixture_of_experts_says_what_stays_as_it_is(checkpoints):
    said = note(checkpoints("qwen3_5_moe"))
    assert said is not None
    assert said.endswith("target sets have attention, dense layers and shared experts")
    assert 0 < float(said.partition("%")[0]) < 100


def test_other_bases_have_no_experts(checkpoints):
    assert note(checkpoints("qwen3_vl")) is None


def test_layers_in_whose_place_peft_adapts_experts_are_refused(checkpoints):
    base = load_base(Model(base=str(checkpoints("glm4v_moe"))), "none", torch.device("cpu"))
    for name in ("gate_proj", "down_proj"):
        with pytest.raises(ValueError, match=rf"adapter\.targets must leave out .*mlp\.{name}"):
            adapted_layers(Adapter(targets=rf"re:.*language_model.*layers\.0\.mlp\.{name}"), base)


def test_peft_gets_paths_where_it_would_make_bare_names_of_an_expression(checkpoints):
    """By its name a layer of the other layers would be adapted as well."""
    chosen = Adapter(targets=r"re:.*language_model\.layers\.0\..*q_proj")
    layer = ["model.language_model.layers.0.self_attn.q_proj"]
    for name, expected in (("glm4v_moe", layer), ("qwen3_vl", chosen.targets.removeprefix("re:"))):
        base = load_base(Model(base=str(checkpoints(name))), "none", torch.device("cpu"))
        assert peft_targets(chosen, base) == expected
