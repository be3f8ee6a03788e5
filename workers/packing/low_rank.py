r"""The arithmetic of one adapted layer for many slots at once.

For slot k, with its rows x_k of the batch, :math:`y_k = W x_k + s_k B_k A_k x_k` (LoRA, Hu et al.
2021). W is the frozen base's and is applied to all rows in one product; the second term is one
batched product over the slots for A and one for B. Slots are sliced, never masked out by zeros:
one that holds NaN changes no other.

As in peft the low-rank term is computed in float32, whatever the precision of the base, and added
before it is rounded to that precision.
"""

from collections.abc import Callable
from typing import Any

import torch

Drop = Callable[[torch.Tensor], torch.Tensor]
"""Applies the same dropout at each call: (slots, tokens, features) -> the same shape."""


class AddLowRank(torch.autograd.Function):
    """``out + scale * dropout(x) A^T B^T`` per slot.

    A function of its own instead of torch's recorded operations, because it keeps x as it came, not
    its float32 copy and not the dropped one, and draws the dropout again in the backward pass.
    """

    @staticmethod
    def forward(  # type: ignore[override]
        ctx: Any,
        out: torch.Tensor,
        x: torch.Tensor,
        a: torch.Tensor,
        b: torch.Tensor,
        scale: torch.Tensor,
        drop: Drop | None,
    ) -> torch.Tensor:
        """Return the sum (slots, tokens, outputs) in the precision of `out`.

        Args:
            out: what the base makes of x (slots, tokens, outputs).
            x: input (slots, tokens, inputs).
            a: (slots, rank, inputs), float32.
            b: (slots, outputs, rank), float32.
            scale: (slots, 1, 1), alpha / rank or what stands for it.
            drop: dropout of the input of A.
        """
        reduced = torch.bmm(_dropped(x, drop), a.mT) * scale
        ctx.save_for_backward(x, a, b, scale, reduced)
        ctx.drop = drop
        if out.dtype == torch.float32:
            return torch.baddbmm(out, reduced, b.mT)
        return (out + torch.bmm(reduced, b.mT)).to(out.dtype)

    @staticmethod
    def backward(  # type: ignore[override]
        ctx: Any, gradient: torch.Tensor
    ) -> tuple[torch.Tensor | None, ...]:
        """Return the gradients of `out`, `x`, `a` and `b`."""
        x, a, b, scale, reduced = ctx.saved_tensors
        wide = gradient.float()
        of_reduced = torch.bmm(wide, b) * scale
        of_b = torch.bmm(wide.mT, reduced)
        of_a = torch.bmm(of_reduced.mT, _dropped(x, ctx.drop))
        of_x = None
        if ctx.needs_input_grad[1]:
            back = torch.bmm(of_reduced, a)
            of_x = (ctx.drop(back) if ctx.drop else back).to(x.dtype)
        return gradient, of_x, of_a, of_b, None, None


def _dropped(x: torch.Tensor, drop: Drop | None) -> torch.Tensor:
    return drop(x.float()) if drop else x.float()


def add_low_rank_in_turn(
    out: torch.Tensor,
    x: torch.Tensor,
    a: torch.Tensor,
    b: torch.Tensor,
    scale: torch.Tensor,
    sizes: list[int],
    drop: Drop | None = None,
) -> torch.Tensor:
    """Return what `AddLowRank` does, slot by slot with torch's own operations: the reference.

    It also serves rows (rows, features) of which the slots have unequally many: `sizes`. Then
    `drop` takes all rows at once.
    """
    wide = _dropped(x, drop)
    added = [
        own @ a[slot].mT * scale[slot] @ b[slot].mT for slot, own in enumerate(torch.split(wide, sizes))
    ]
    return (out + torch.cat(added)).to(out.dtype)
