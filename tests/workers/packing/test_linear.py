"""A packed layer beside the one that peft puts in its place."""

import pytest
import torch
from peft import get_peft_model

from workers.models.adapters import linear_layer, lora_config
from workers.models.loading import load_base
from workers.packing.linear import AddLowRank, LayerWeights, PackedLinear, Route
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
    packed = PackedLinear(linear, path, Route(slots=SLOTS, scale=scale), head=False)
    packed.weights = LayerWeights(a.expand(SLOTS, -1, -1), b.expand(SLOTS, -1, -1))
    with torch.no_grad():
        found, expected = packed(x), layer(x)
    assert found.dtype == base.model.dtype
    tolerance = 0 if dtype == "bfloat16" else 1e-6
    torch.testing.assert_close(found, expected, rtol=0, atol=tolerance)


SLOTS, TOKENS, INPUTS, OUTPUTS, RANK = 3, 5, 7, 4, 2


def tensors(dtype):
    """Return out, x, a, b and scale; the last slot's A is as padding leaves it, half zeros."""
    generator = torch.Generator().manual_seed(0)

    def random(*shape):
        return torch.randn(shape, generator=generator)

    a = random(SLOTS, RANK, INPUTS)
    a[-1, 1:] = 0
    return (
        random(SLOTS, TOKENS, OUTPUTS).to(dtype).requires_grad_(),
        random(SLOTS, TOKENS, INPUTS).to(dtype).requires_grad_(),
        a.requires_grad_(),
        random(SLOTS, OUTPUTS, RANK).requires_grad_(),
        torch.tensor([0.5, 2.0, 3.0])[:, None, None],
    )


def batched(out, x, a, b, scale, kept=None, rounded=False):
    """Return the sums of all slots in one product; gradients are added to those of a and b."""
    for leaf in (a, b):
        leaf.grad = torch.zeros_like(leaf)
    weights = LayerWeights(a.detach(), b.detach(), a.grad, b.grad)
    anchor = torch.zeros((), requires_grad=True)
    return AddLowRank.apply(anchor, out, x, weights, scale, kept, rounded)


def in_turn(out, x, a, b, scale, kept=None, rounded=False):
    """Return the same, slot by slot with torch's own operations: the reference."""
    wide = x.float() if kept is None else x.float() * kept
    terms = [own @ a[slot].mT * scale[slot] @ b[slot].mT for slot, own in enumerate(wide)]
    term = torch.stack(terms)
    return (out + (term.to(out.dtype) if rounded else term)).to(out.dtype)


@pytest.mark.parametrize("dropout", [False, True])
@pytest.mark.parametrize(
    ("dtype", "rounded"),
    [(torch.float32, False), (torch.bfloat16, False), (torch.bfloat16, True)],
)
def test_sums_and_gradients_are_those_of_torch_slot_by_slot(dtype, rounded, dropout):
    generator = torch.Generator().manual_seed(1)
    kept = (torch.rand(SLOTS, TOKENS, INPUTS, generator=generator) > 0.4) if dropout else None
    weights = torch.randn(SLOTS, TOKENS, OUTPUTS, generator=generator)
    found = []
    for function in (batched, in_turn):
        own = tensors(dtype)
        result = function(*own, kept, rounded)
        assert result.dtype == dtype
        (result.float() * weights).sum().backward()
        found.append([result, *(leaf.grad for leaf in own[:4])])
    step = 1e-5 if dtype == torch.float32 else 2e-2
    for own, reference in zip(*found, strict=True):
        assert own.dtype == reference.dtype
        torch.testing.assert_close(own, reference, atol=step, rtol=step)


def test_gradients_are_the_slopes_of_the_sums():
    """By small differences, of a function of A, B and x with a fixed dropout."""
    kept = torch.rand(SLOTS, TOKENS, INPUTS, generator=torch.Generator().manual_seed(2)) > 0.5
    out, x, a, b, scale = tensors(torch.float32)
    weights = torch.randn(out.shape, generator=torch.Generator().manual_seed(3))

    def value(*leaves):
        with torch.no_grad():
            return float((in_turn(out, *leaves, scale, kept) * weights).double().sum())

    (batched(out, x, a, b, scale, kept) * weights).sum().backward()
    for which, leaf in enumerate((x, a, b)):
        direction = torch.randn(leaf.shape, generator=torch.Generator().manual_seed(4))
        moved = [
            [own + sign * 1e-2 * direction if own is leaf else own for own in (x, a, b)]
            for sign in (1, -1)
        ]
        # Each of the three enters linearly, so the difference is exact but for rounding.
        slope = (value(*moved[0]) - value(*moved[1])) / 2e-2
        assert slope == pytest.approx(float((leaf.grad * direction).sum()), rel=1e-3), which


def test_what_is_not_a_number_stays_in_its_slot():
    out, x, a, b, scale = tensors(torch.float32)
    clean = batched(out, x, a, b, scale)
    broken = a.detach().clone()
    broken[1] = torch.nan
    broken.requires_grad_()
    result = batched(out, x, broken, b, scale)
    result.sum().backward()
    assert result[1].isnan().all()
    assert torch.equal(result[[0, 2]], clean[[0, 2]])
    assert broken.grad[[0, 2]].isfinite().all()


def test_gradients_are_added_to_those_that_are_there():
    own = tensors(torch.float32)
    batched(*own).sum().backward()
    once = [leaf.grad.clone() for leaf in own[2:4]]
    weights = LayerWeights(own[2].detach(), own[3].detach(), own[2].grad, own[3].grad)
    anchor = torch.zeros((), requires_grad=True)
    AddLowRank.apply(anchor, own[0], own[1], weights, own[4], None, False).sum().backward()
    for leaf, first in zip(own[2:4], once, strict=True):
        torch.testing.assert_close(leaf.grad, 2 * first)


def test_in_bfloat16_factors_are_rounded_and_gradients_are_not():
    """With the scale in B, within the rounding of 8 bits."""
    generator = torch.Generator().manual_seed(1)
    kept = torch.rand(SLOTS, TOKENS, INPUTS, generator=generator) > 0.4
    out, x, a, b, scale = tensors(torch.bfloat16)
    in_turn(out, x, a, b, scale, kept).sum().backward()
    expected = [leaf.grad.clone() for leaf in (out, x, a, b)]
    for leaf in (out, x, a, b):
        leaf.grad = torch.zeros_like(leaf)
    halves = (a.detach().bfloat16(), (b.detach() * scale).bfloat16())
    weights = LayerWeights(*halves, a.grad, b.grad)
    anchor = torch.zeros((), requires_grad=True)
    result = AddLowRank.apply(anchor, out, x, weights, scale, kept, False)
    result.sum().backward()
    torch.testing.assert_close(result, in_turn(out, x, a, b, scale, kept), rtol=2e-2, atol=5e-2)
    for leaf, reference in zip((out, x, a, b), expected, strict=True):
        assert leaf.grad.dtype == leaf.dtype
        torch.testing.assert_close(leaf.grad, reference, rtol=3e-2, atol=8e-2)
