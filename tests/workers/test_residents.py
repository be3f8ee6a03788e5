"""Which trials of a host train in a pack, where the base has a say in it."""

import pytest
import torch

from workers.packing.together import Together
from workers.recipe import Data, Model, Recipe
from workers.residents import Residents
from workers.scoring import Scoring


@pytest.fixture
def residents():
    residents = Residents(torch.device("cpu"), Scoring(), packing=True)
    yield residents
    residents.close()


@pytest.mark.parametrize(
    ("variant", "targets", "reason"),
    [
        ("qwen2_5_vl", "text_all", None),
        ("qwen2_5_vl", "all", "its adapted layers see all images in one row"),
        ("git", "all", None),
    ],
)
def test_an_image_encoder_that_joins_images_cannot_be_adapted_in_a_pack(
    variant, targets, reason, checkpoints, residents
):
    recipe = Recipe(model=Model(base=str(checkpoints(variant))), data=Data(source="shapes"))
    recipe = recipe.with_point({"adapter.targets": targets})
    assert residents.reason_alone(recipe) == reason
    assert isinstance(residents.trainer(recipe), Together) == (reason is None)
