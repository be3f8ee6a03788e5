"""Stand-ins for bases: of the base's own config where there is one, else by the family's name."""

import json
import shutil

import pytest
import torch
from transformers import AutoConfig

from workers.models.loading import load_base
from workers.recipe import Model
from workers.tiny import stand_in
from workers.tiny.checkpoints import VARIANTS
from workers.tiny.shrunk import shrunk

CPU = torch.device("cpu")
NAMES = {
    "microsoft/git-base": "git",
    "microsoft/git-large-coco": "git",
    "Salesforce/blip2-flan-t5-xl": "blip2-t5",
    "Salesforce/blip2-opt-2.7b": "blip2-opt",
    "Qwen/Qwen2.5-VL-7B-Instruct": "qwen2_5_vl",
    "google/paligemma-3b-pt-224": "paligemma",
}
REAL = {
    "git": {},
    "blip2-opt": {},
    "blip2-t5": {"text_config": {"model_type": "t5"}},
    "qwen2_5_vl": {},
    "paligemma": {},
}
"""Variant -> what else its default config, which has a real model's sizes, is made of."""


def load(base):
    return load_base(Model(base=base), "none", CPU)


@pytest.mark.parametrize(("name", "variant"), NAMES.items())
def test_the_name_tells_the_family(name, variant):
    assert stand_in.variant_of(name, None) == variant


@pytest.mark.parametrize("name", ["openai/digits", "github/some-model", "someone/blip2-mine"])
def test_other_names_tell_nothing(name, tmp_path):
    with pytest.raises(ValueError, match=r"the family of .* is unknown.*hf download"):
        stand_in.make(name, None, tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_base_on_this_machine_lends_its_config_and_processor(variant, checkpoints, tmp_path):
    own = load(str(checkpoints(variant)))
    made = stand_in.make(str(checkpoints(variant)), None, tmp_path)
    base = load(made.base)
    assert made.exact
    assert base.positions == own.positions
    assert base.processor.tokenizer.get_vocab() == own.processor.tokenizer.get_vocab()
    assert base.model.generation_config.eos_token_id == own.model.generation_config.eos_token_id
    assert stand_in.make(str(checkpoints(variant)), None, tmp_path) == made


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_config_of_real_size_becomes_a_tiny_model(variant):
    from transformers import AutoModelForImageTextToText

    kind = {"blip2-opt": "blip-2", "blip2-t5": "blip-2"}.get(variant, variant)
    config = AutoConfig.for_model(kind, **REAL[variant]).to_dict()
    model = AutoModelForImageTextToText.from_config(AutoConfig.for_model(**shrunk(config)))
    assert sum(weight.numel() for weight in model.parameters()) < 12e6
    assert model.config.get_text_config().vocab_size == (
        AutoConfig.for_model(kind, **REAL[variant]).get_text_config().vocab_size
    )


def test_layers_stay_where_targets_name_them(checkpoints, tmp_path):
    folder = tmp_path / "git"
    shutil.copytree(checkpoints("git"), folder)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "num_hidden_layers": 5}))
    for deep, layers in ((True, 5), (False, 2)):
        made = stand_in.make(str(folder), None, tmp_path / "made", deep=deep)
        assert load(made.base).model.config.num_hidden_layers == layers


def test_a_base_without_processor_gets_the_tiny_one_of_its_family(checkpoints, tmp_path):
    (tmp_path / "mine").mkdir()
    shutil.copy(checkpoints("blip2-t5") / "config.json", tmp_path / "mine")
    made = stand_in.make(str(tmp_path / "mine"), None, tmp_path / "made")
    assert not made.exact
    assert "tokenizer and processor" in made.origin
    assert load(made.base).encoder_decoder


def test_a_familys_tiny_one_has_the_positions_of_a_real_one(tmp_path):
    made = stand_in.make("Qwen/Qwen2.5-VL-7B-Instruct", None, tmp_path)
    assert not made.exact
    assert load(made.base).positions == 2048


def test_a_built_in_base_stands_for_itself(tmp_path):
    assert stand_in.make("tiny:shapes", None, tmp_path).base == "tiny:shapes"


@pytest.mark.parametrize("variant", VARIANTS)
def test_the_config_alone_tells_how_large_a_base_and_its_adapters_are(variant, checkpoints):
    from workers.models import checkpoint_files
    from workers.models.adapters import AdaptedBase
    from workers.recipe import Adapter

    files = checkpoint_files.from_config(checkpoints(variant))
    base = load(str(checkpoints(variant)))
    assert files.weights == sum(weight.numel() for weight in base.model.parameters())
    adapted = AdaptedBase(base)
    adapted.attach("one", Adapter(rank=4), 0)
    trained = sum(weight.numel() for weight in adapted.parameters("one"))
    assert files.adapter_weights("text_all", rank=4) == trained
