"""Traits of architectures, as their tiny checkpoints show them."""

import json
from dataclasses import replace

import pytest
import torch
from PIL import Image

from workers import families, traits
from workers.families.traits import UNTRIED, Traits, place_of
from workers.memory.footprint import feature_bytes
from workers.memory.layers import Architecture, DataExtent
from workers.models import checkpoint_files
from workers.models.adapters import adapted_layers
from workers.models.loading import load_base
from workers.recipe import Adapter, Data, Model, Recipe
from workers.tiny.checkpoints import VARIANTS

GENERIC = {
    "llava": True,
    "gemma3": True,
    "gemma4": False,
    "internvl": False,
    "llava_next": False,
    "minicpmv4_6": False,
    "mistral3": False,
    "mllama": True,
    "qwen3_5_moe": False,
    "qwen3_vl": False,
    "smolvlm": False,
}
"""Architecture -> whether its image encoder has the patches of each image in a row of their own."""
pytestmark = pytest.mark.filterwarnings("ignore:model.base is of type")


def load(folder):
    return load_base(Model(base=str(folder)), "none", torch.device("cpu"))


@pytest.fixture
def base(request, checkpoints):
    return load(checkpoints(request.param))


@pytest.mark.parametrize("base", VARIANTS, indirect=True)
def test_families_state_what_is_seen(base):
    seen = traits.see(base)
    assert (seen.alone, seen.no_features) == (None, None)
    assert seen.vision == tuple(base.family.VISION_CHAIN)
    visual = tuple(f"{path}." for path in seen.vision)
    mixed = {path for path in base.linear_layers if place_of(path) not in seen.in_rows}
    assert (not mixed) == base.family.IMAGES_IN_ROWS
    assert all(path.startswith(visual) for path in mixed)


@pytest.mark.parametrize(("base", "in_rows"), GENERIC.items(), indirect=["base"])
def test_features_stand_for_pixels_and_adapted_text_packs(base, in_rows):
    """`see` has compared losses and captions of features with those of pixels."""
    assert base.family.traits == UNTRIED
    seen = traits.see(base)
    assert (seen.alone, seen.no_features) == (None, None)
    text = adapted_layers(Adapter(targets="text_all"), base)
    outer = tuple(f"{path}." for path in seen.vision)
    visual = [path for path in base.linear_layers if path.startswith(outer)]
    assert not set(visual) & set(text)
    assert seen.why_not_packed(text) is None
    assert (seen.why_not_packed(visual) is None) == in_rows


class OfTheBatch(torch.nn.Module):
    """Subtracts the mean of the batch, as a norm over it does."""

    def __init__(self, own):
        super().__init__()
        self.own = own

    def forward(self, states):
        states = self.own(states)
        return states - states.mean(dim=0, keepdim=True)


@pytest.mark.parametrize("base", ["llava"], indirect=True)
def test_rows_that_depend_on_others_are_seen(base):
    text = base.model.model.language_model
    text.norm = OfTheBatch(text.norm)
    seen = traits.see(base)
    assert "changes the losses" in seen.alone
    assert seen.why_not_packed(["lm_head"]) == seen.alone == seen.no_features


class OfSortedTokens(torch.nn.Module):
    """Gives a module the tokens of all rows in an order of its own, as experts get theirs."""

    def __init__(self, own):
        super().__init__()
        self.own = own

    def forward(self, states):
        tokens = states.flatten(0, 1)
        order = tokens[:, 0].argsort()
        return self.own(tokens[order])[order.argsort()].view_as(states)


@pytest.mark.parametrize("base", ["llava"], indirect=True)
def test_layers_that_get_tokens_in_another_order_are_not_packed(base):
    layer = base.model.model.language_model.layers[0]
    layer.mlp = OfSortedTokens(layer.mlp)
    base = replace(base)  # whose layers are looked up anew
    seen = traits.see(base)
    assert (seen.alone, seen.no_features) == (None, None)
    path = "model.language_model.layers.0"
    assert seen.why_not_packed([f"{path}.self_attn.q_proj", "lm_head"]) is None
    for name in ("gate_proj", "up_proj", "down_proj"):
        assert seen.why_not_packed([f"{path}.mlp.own.{name}"]).startswith(f"{path}.mlp.own.{name} ")


@pytest.mark.parametrize("base", ["llava"], indirect=True)
def test_an_image_that_nothing_reads_shows_nothing(base):
    base.model.model.multi_modal_projector.register_forward_hook(lambda *_: _[-1] * 0)
    assert traits.see(base).alone.endswith("the image changes no loss")


@pytest.mark.parametrize("base", ["llava"], indirect=True)
def test_pixels_that_are_read_elsewhere_cannot_be_left_out(base):
    def add_brightness(module, args, named, out):
        if (pixels := named.get("pixel_values")) is not None and pixels.shape[1] == 3:
            bright = torch.tanh(pixels.mean(dim=(1, 2, 3)))
            out.last_hidden_state = out.last_hidden_state * (2 + bright[:, None, None])
        return out

    base.model.model.register_forward_hook(add_brightness, with_kwargs=True)
    seen = traits.see(base)
    assert seen.alone is None
    assert seen.no_features.endswith("with its features in place of pixels it has other losses")
    assert seen.vision == ()


def test_a_base_is_tried_once(checkpoints, tmp_path, monkeypatch):
    monkeypatch.setenv("SWEEPS_CACHE", str(tmp_path))
    folder, runs = checkpoints("qwen3_vl"), []
    see = traits.see
    monkeypatch.setattr(traits, "see", lambda base: runs.append(base) or see(base))
    model = Model(base=str(folder))
    assert families.of_checkpoint("qwen3_vl", folder).traits == UNTRIED
    found = traits.of(model)
    assert found.vision == ("model.visual",)
    assert found == traits.of(model) == families.of_checkpoint("qwen3_vl", folder).traits
    assert len(runs) == 1
    base = load(folder)
    assert traits.proven(base, model).family.vision == ("model.visual",)
    assert base.family.vision == families.get("qwen3_vl").vision == ()


def test_features_are_estimated_as_soon_as_they_are_known(checkpoints, tmp_path, monkeypatch):
    monkeypatch.setenv("SWEEPS_CACHE", str(tmp_path))
    model, data = Model(base=str(checkpoints("qwen3_vl"))), Data(source="shapes")
    recipe, extent = Recipe(model=model, data=data), DataExtent(images=10, question=0, caption=20)

    def estimated():
        files = checkpoint_files.find(model.base, None)
        return feature_bytes(recipe, Architecture.of(files), gpu=False, data=extent)

    assert estimated() == 0
    layers = traits.of(model).feature_layers
    assert layers == 2  # the first, and one more by DeepStack
    base = load(checkpoints("qwen3_vl"))
    image = base.family.encode(base, Image.new("RGB", (512, 384)))
    tokens = base.family.image_places(base, image)
    assert estimated() >= 10 * layers * tokens * 32 * 4


def test_another_config_is_tried_again(checkpoints, tmp_path, monkeypatch):
    monkeypatch.setenv("SWEEPS_CACHE", str(tmp_path / "cache"))
    config = json.loads((checkpoints("llava") / "config.json").read_text())
    families.traits.remember(checkpoints("llava"), Traits(in_rows=("lm_head",)))
    (tmp_path / "config.json").write_text(json.dumps({**config, "vision_feature_layer": -2}))
    assert families.of_checkpoint("llava", checkpoints("llava")).traits.in_rows == ("lm_head",)
    assert families.of_checkpoint("llava", tmp_path).traits == UNTRIED


def test_a_stand_in_that_fails_is_a_reason(checkpoints, tmp_path, monkeypatch):
    monkeypatch.setenv("SWEEPS_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(traits, "load_base", lambda *_: 1 / 0)
    found = traits.of(Model(base=str(checkpoints("llava"))))
    assert found.why_not_packed([]) == "its stand-in could not be tried: division by zero"
    assert not families.of_checkpoint("llava", checkpoints("llava")).vision


def test_places_are_those_of_a_shallow_stand_in():
    assert place_of("model.layers.12.mlp.fc1") == place_of("model.layers.0.mlp.fc1")
    assert place_of("projector.2") == "projector.#"
