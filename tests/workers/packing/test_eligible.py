import pytest

from workers.packing.eligible import reason_not_packed
from workers.recipe import Data, Model, Recipe

RECIPE = Recipe(model=Model(base="tiny:shapes"), data=Data(source="shapes"))


@pytest.mark.parametrize(
    ("point", "reason"),
    [
        ({}, None),
        ({"quantization": "nf4", "adapter.variant": "rslora"}, None),
        ({"quantization": "int8"}, "outlier columns"),
        ({"adapter.variant": "dora"}, "DoRA norms the whole weight"),
        ({"adapter.bias": "all"}, "biases"),
        ({"adapter.trained_modules": ("output",)}, "copies of modules"),
    ],
)
def test_what_cannot_share_a_forward_says_why(point, reason):
    found = reason_not_packed(RECIPE.with_point(point))
    assert found is None if reason is None else reason in found
