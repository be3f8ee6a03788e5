r"""A linear layer of the base with the low-rank terms of all slots of a pack.

For slot k, with its rows x_k of the batch, :math:`y_k = W x_k + s_k B_k A_k x_k` (LoRA, Hu et al.
2021). W is the frozen base's and is applied to all rows in one product; the second term is one
batched product over the slots for A and one for B. Slots are sliced, never masked out by zeros:
one that holds NaN changes no other. The idea is that of BatchLoRA in mLoRA (Ye et al. 2023), and of
Punica (Chen et al. 2023) for inference.

As in peft the low-rank term is computed in float32 by default, whatever the precision of the base.
The sum is rounded to that precision; on a quantized layer peft rounds the term, too, before it adds
it. Where ``adapter.compute_dtype`` has 16 bits, the factors are rounded to it and their products
are added up in float32, inside of the kernels.
"""

from dataclasses import dataclass
from typing import Any, cast

import torch

from workers.packing.dropout import DropoutMasks, salt_of


@dataclass(frozen=True)
class LayerWeights:
    """A and B of all slots in one layer, and where their gradients are added."""

    a: torch.Tensor
    """(slots, rank, inputs)."""
    b: torch.Tensor
    """(slots, outputs, rank); in 16 bits with the scale in it."""
    grad_a: torch.Tensor | None = None
    """Float32, of the shape of `a`; None where nothing is trained."""
    grad_b: torch.Tensor | None = None


@dataclass
class Route:
    """The rows of the batch by slot; all layers of a pack read the same route."""

    slots: int = 0
    """Slots in the batch. Their rows follow one another, equally many of each."""
    masks: DropoutMasks | None = None
    scale: torch.Tensor | None = None
    """Factors of B A (slots, 1, 1), dropout's gain in it."""
    tokens: tuple[torch.Tensor, torch.Tensor] | None = None
    """Rows and places of the tokens that alone reach the head, equally many of each slot."""
    anchor: torch.Tensor | None = None
    """A number that requires a gradient: for it autograd calls `AddLowRank.backward`."""


class PackedLinear(torch.nn.Module):
    """Stands in the model in place of a linear layer, which it calls for all rows at once.

    Args:
        base: the linear layer, quantized or not.
        path: its place in the base, by which dropout identifies layers.
        route: where the rows of each slot are in the batch under way.
        head: whether it is the layer to the vocabulary, which may get label positions alone.
    """

    def __init__(self, base: torch.nn.Module, path: str, route: Route, *, head: bool) -> None:
        super().__init__()
        self.base = base
        self._head = head
        self._rounded = not self.weight.is_floating_point()
        """Whether the layer is quantized: then peft rounds the low-rank term before it adds it."""
        self.weights: LayerWeights | None = None
        self._route = route
        self._salt = salt_of(path)

    @property
    def weight(self) -> torch.Tensor:
        """The base's weight; some models look at its type."""
        return cast(torch.Tensor, self.base.weight)

    @property
    def bias(self) -> torch.Tensor | None:
        """The base's bias."""
        return cast(torch.Tensor | None, self.base.bias)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the layer's output (..., outputs) for `x` (..., inputs).

        The rows of `x`, its first axis, are ordered by slot, equally many of each.
        """
        out: torch.Tensor = self.base(x)
        route = self._route
        xs = x.reshape(route.slots, -1, x.shape[-1])
        masks = route.masks
        if masks and self._head and route.tokens and x.dim() == 2:
            masks = masks.at(*route.tokens)
        kept = masks.kept(xs, self._salt) if masks else None
        added: torch.Tensor = AddLowRank.apply(  # type: ignore[no-untyped-call]
            route.anchor,
            out.reshape(route.slots, -1, out.shape[-1]),
            xs,
            self.weights,
            route.scale,
            kept,
            self._rounded,
        )
        return added.view(out.shape)


class AddLowRank(torch.autograd.Function):
    """``y = out + scale * (kept * x) A^T B^T`` per slot, with one token per row of x.

    With g the gradient of y and u = scale * (kept * x) A^T, the gradients are: of out g, of B
    g^T u, of A (scale * g B)^T (kept * x), and of x kept * (scale * g B) A, to which autograd adds
    what comes through out.

    A function of its own instead of torch's recorded operations: those would keep the float32 copy
    of x and the dropped one; this keeps x as it came, which layers share that read the same, and
    a byte per value for the dropout. The gradients of A and B are added where they belong, without
    a copy between.
    """

    @staticmethod
    def forward(  # type: ignore[override]
        ctx: Any,
        anchor: torch.Tensor | None,
        out: torch.Tensor,
        x: torch.Tensor,
        weights: LayerWeights,
        scale: torch.Tensor,
        kept: torch.Tensor | None,
        rounded: bool,
    ) -> torch.Tensor:
        """Return the sum (slots, tokens, outputs) in the precision of `out`.

        Args:
            anchor: requires a gradient where weights are trained.
            out: what the base makes of x (slots, tokens, outputs).
            x: input (slots, tokens, inputs).
            weights: in float32 or 16 bits, the type in which the products are made.
            scale: (slots, 1, 1), alpha / rank (rsLoRA: alpha / sqrt(rank), Kalajdzievski 2023),
                times dropout's gain 1 / (1 - p).
            kept: 1 where dropout leaves x, else 0, of its shape; None leaves all.
            rounded: whether the term is rounded to the precision of `out` before it is added.
        """
        reduced = torch.bmm(_left(x, kept, weights.a.dtype), weights.a.mT)
        if reduced.dtype == torch.float32:
            reduced *= scale
        ctx.save_for_backward(x, scale, kept, reduced)
        ctx.weights = weights
        if out.dtype == reduced.dtype:
            return torch.baddbmm(out, reduced, weights.b.mT)
        term = torch.bmm(reduced, weights.b.mT)
        return (out + (term.to(out.dtype) if rounded else term)).to(out.dtype)

    @staticmethod
    def backward(  # type: ignore[override]
        ctx: Any, gradient: torch.Tensor
    ) -> tuple[torch.Tensor | None, ...]:
        """Return the gradients of `out` and `x`, and add those of A and B to what is there.

        `gradient` is that of the sum, (slots, tokens, outputs).
        """
        x, scale, kept, reduced = ctx.saved_tensors
        weights: LayerWeights = ctx.weights
        assert weights.grad_a is not None
        assert weights.grad_b is not None
        wide, left = gradient.to(reduced.dtype), _left(x, kept, reduced.dtype)
        of_reduced = torch.bmm(wide, weights.b)
        if reduced.dtype == torch.float32:
            of_reduced *= scale
            _add_product(weights.grad_b, wide.mT, reduced)
            _add_product(weights.grad_a, of_reduced.mT, left)
        else:  # here B has the scale in it
            weights.grad_b.addcmul_(torch.bmm(wide.mT, reduced), scale)
            weights.grad_a.add_(torch.bmm(of_reduced.mT, left))
        of_x = None
        if ctx.needs_input_grad[2]:
            of_x = _left(torch.bmm(of_reduced, weights.a), kept, reduced.dtype).to(x.dtype)
        return None, gradient, of_x, None, None, None, None


def _add_product(there: torch.Tensor, left: torch.Tensor, right: torch.Tensor) -> None:
    """Add a batched product to what is there, float32."""
    if there.device.type == "cpu":  # where `baddbmm_` of rows goes through them one by one
        there.add_(torch.bmm(left, right))
    else:
        there.baddbmm_(left, right)


def _left(x: torch.Tensor, kept: torch.Tensor | None, dtype: torch.dtype) -> torch.Tensor:
    """Return what dropout leaves of `x`, in `dtype`."""
    return x.to(dtype) if kept is None else x.to(dtype) * kept
