"""When features may be kept."""

import pytest
import torch

from workers.features.frozen import vision_is_frozen
from workers.models.loading import load_base
from workers.recipe import Adapter, Model


def frozen(base, **adapter):
    return vision_is_frozen(Adapter(rank=2, **adapter), base)


def test_only_adapters_of_the_text_leave_the_image_encoder_alone(base):
    assert frozen(base)
    assert frozen(base, targets="text", bias="lora_only")
    assert frozen(base, trained_modules=()) is frozen(base, targets="text_all") is True
    assert not frozen(base, targets="vision")
    assert not frozen(base, targets="all")
    assert not frozen(base, bias="all")


@pytest.mark.parametrize(
    ("base", "module"),
    [
        ("git", "git.visual_projection"),
        ("git", "git.visual_projection.visual_projection.1"),
        ("blip2-opt", "qformer"),
        ("qwen2_5_vl", "model.visual.merger"),
        ("paligemma", "model.multi_modal_projector.linear"),
    ],
    indirect=["base"],
)
def test_modules_trained_whole_count(base, module):
    assert not frozen(base, targets="text", trained_modules=(module,))


@pytest.mark.parametrize("base", ["paligemma"], indirect=True)
def test_a_part_and_the_whole_around_it_count(base):
    assert not frozen(base, targets=r"re:model\.multi_modal_projector\.linear")
    assert frozen(base, targets="text", trained_modules=("lm_head",))


def test_nothing_is_known_of_other_architectures(llava):
    base = load_base(Model(base=str(llava)), "none", torch.device("cpu"))
    assert not frozen(base)
