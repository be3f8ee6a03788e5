"""A memory estimate of every architecture, from its config and processor alone."""

import shutil

import pytest

from workers.memory.footprint import estimate
from workers.memory.layers import Architecture, image_tokens, vision_tokens
from workers.models import checkpoint_files
from workers.recipe import Model
from workers.tiny.architectures import ARCHITECTURES


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_every_architecture_has_an_estimate_without_its_weights(
    name, checkpoints, recipe_of, tmp_path
):
    weights = shutil.ignore_patterns("*.safetensors*")
    folder = shutil.copytree(checkpoints(name), tmp_path / name, ignore=weights)
    base = Architecture.of(checkpoint_files.find(str(folder), None))
    towers = {tower.kind: tower for tower in base.towers}
    assert {"vision", "decoder"} <= towers.keys()
    vision = vision_tokens(base.files)
    assert vision >= image_tokens(base.files, vision) > 0
    recipe = recipe_of(name).model_copy(update={"model": Model(base=str(folder))})
    footprint = estimate(recipe, base, gpu=True)
    assert footprint.base == 2 * base.files.weights
    assert footprint.adapter > 0
    assert footprint.activations > 0
    assert footprint.generation > 0


def test_tiles_that_are_not_counted_are_said(checkpoints):
    def left_out(name):
        return Architecture.of(checkpoint_files.find(str(checkpoints(name)), None)).left_out

    assert left_out("llava") == left_out("git") == ()
    for name in ("llava_next", "idefics3", "mllama"):
        assert left_out(name) == ("the further tiles of a large image: counted is one",)


def test_tokens_go_through_some_of_the_experts(checkpoints):
    base = Architecture.of(checkpoint_files.find(str(checkpoints("qwen3_vl_moe")), None))
    (block, *_) = base.towers[-1].blocks
    text = base.files.config["text_config"]
    assert block.experts == text["num_experts_per_tok"] * text["moe_intermediate_size"]
    assert block.experts < text["num_local_experts"] * text["moe_intermediate_size"]
