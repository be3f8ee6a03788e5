"""A packed layer beside the one that peft puts in its place."""

import pytest
import torch
from peft import get_peft_model

from workers.models.adapters import linear_layer, lora_config
from workers.models.loading import load_base
from workers.packing.linear import PackedLinear, Route, Share
from workers.recipe import Adapter, Model

ADAPTER = Adapter(rank=4, alpha=8.0, dropout=0.0)
SLOTS, TOKENS = 3, 50


def whole(*shape):
    """Return small whole numbers: their sums of products are exact in any order."""
    return torch.randint(-4, 5, shape).float()


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("quantization", ["none", "nf4"])
def test_outputs_are_rounded_as_those_of_peft(checkpoints, dtype, quantization):
    """All slots have the same weights, as peft has but one adapter at a time."""
    model = Model(base=str(checkpoints("git")), dtype=dtype)
    base = load_base(model, quantization, torch.device("cpu"))
    path = "git.encoder.layer.0.attention.self.query"
    linear = linear_layer(base, path)
    tuned = get_peft_model(base.model, lora_config(ADAPTER, base)).base_model.model
    layer = tuned.get_submodule(path)
    torch.manual_seed(0)
    a, b = whole(4, linear.in_features), whole(linear.out_features, 4) / 64
    layer.lora_A["default"].weight.data, layer.lora_B["default"].weight.data = a, b
    x = whole(SLOTS, TOKENS, linear.in_features).to(base.model.dtype)
    scale = torch.full((SLOTS, 1, 1), ADAPTER.alpha / ADAPTER.rank)
    route = Route(slots=SLOTS, masks=[None], scales=[scale])
    packed = PackedLinear(linear, path, route, head=False)
    packed.shares = (
        Share(number=0, first=0, a=a.expand(SLOTS, -1, -1), b=b.expand(SLOTS, -1, -1)),
    )
    with torch.no_grad():
        found, expected = packed(x), layer(x)
    assert found.dtype == base.model.dtype
    tolerance = 0 if dtype == "bfloat16" else 1e-6
    torch.testing.assert_close(found, expected, rtol=0, atol=tolerance)
