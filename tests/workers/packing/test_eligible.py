import pytest

from workers import families
from workers.packing.eligible import why_not_packed
from workers.recipe import Data, Model, Recipe

RECIPE = Recipe(model=Model(base="tiny:shapes"), data=Data(source="shapes"))


@pytest.mark.parametrize(
    ("point", "reason"),
    [
        ({}, None),
        ({"quantization": "nf4", "adapter.variant": "rslora"}, None),
        ({"quantization": "int8"}, None),
        ({"adapter.variant": "dora"}, "DoRA norms the whole weight"),
        ({"adapter.bias": "all"}, "biases"),
        ({"adapter.trained_modules": ("output",)}, "copies of modules"),
    ],
)
def test_what_cannot_share_a_forward_says_why(point, reason):
    found = why_not_packed(RECIPE.with_point(point), families.get("git"), ["layer"])
    assert found is None if reason is None else reason in found


TEXT, VISION = "model.language_model.layers.0.self_attn.q_proj", "model.visual.blocks.0.attn.qkv"


@pytest.mark.parametrize(
    ("model_type", "point", "layers", "reason"),
    [
        ("qwen2_5_vl", {}, [TEXT], None),
        ("qwen2_5_vl", {}, [TEXT, VISION], "all images in one row"),
        ("qwen2_5_vl", {"adapter.variant": "dora"}, [VISION], "DoRA"),
        ("git", {}, ["git.image_encoder.vision_model.encoder.layers.0.self_attn.q_proj"], None),
        ("llava", {}, [TEXT], "not known yet"),
    ],
)
def test_a_base_whose_images_share_a_row_packs_only_what_leaves_them_alone(
    model_type, point, layers, reason
):
    found = why_not_packed(RECIPE.with_point(point), families.get(model_type), layers)
    assert found is None if reason is None else reason in found
