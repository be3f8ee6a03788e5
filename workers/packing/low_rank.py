r"""The arithmetic of one adapted layer for many slots at once.

For slot k, with its rows x_k of the batch, :math:`y_k = W x_k + s_k B_k A_k x_k` (LoRA, Hu et al.
2021). W is the frozen base's and is applied to all rows in one product; the second term is one
batched product over the slots for A and one for B. Slots are sliced, never masked out by zeros:
one that holds NaN changes no other. The idea is that of BatchLoRA in mLoRA (Ye et al. 2023), and of
Punica (Chen et al. 2023) for inference.

As in peft the low-rank term is computed in float32, whatever the precision of the base. The sum is
rounded to that precision; on a quantized layer peft rounds the term, too, before it adds it.
"""

from typing import Any

import torch


class AddLowRank(torch.autograd.Function):
    """``y = out + scale * (kept * x) A^T B^T`` per slot, with one token per row of x.

    With g the gradient of y and u = scale * (kept * x) A^T, the gradients are: of out g, of B
    g^T u, of A (scale * g B)^T (kept * x), and of x kept * (scale * g B) A, to which autograd adds
    what comes through out.

    A function of its own instead of torch's recorded operations: those would keep the float32 copy
    of x and the dropped one; this keeps x as it came, which layers share that read the same, and
    a byte per value for the dropout.
    """

    @staticmethod
    def forward(  # type: ignore[override]
        ctx: Any,
        out: torch.Tensor,
        x: torch.Tensor,
        a: torch.Tensor,
        b: torch.Tensor,
        scale: torch.Tensor,
        kept: torch.Tensor | None,
        rounded: bool,
    ) -> torch.Tensor:
        """Return the sum (slots, tokens, outputs) in the precision of `out`.

        Args:
            out: what the base makes of x (slots, tokens, outputs).
            x: input (slots, tokens, inputs).
            a: (slots, rank, inputs), float32.
            b: (slots, outputs, rank), float32.
            scale: (slots, 1, 1), alpha / rank (rsLoRA: alpha / sqrt(rank), Kalajdzievski 2023),
                times dropout's gain 1 / (1 - p).
            kept: 1 where dropout leaves x, else 0, of its shape; None leaves all.
            rounded: whether the term is rounded to the precision of `out` before it is added.
        """
        reduced = torch.bmm(_left(x, kept), a.mT) * scale
        ctx.save_for_backward(x, a, b, scale, kept, reduced)
        if out.dtype == torch.float32:
            return torch.baddbmm(out, reduced, b.mT)
        return _sum(out, torch.bmm(reduced, b.mT), rounded=rounded)

    @staticmethod
    def backward(  # type: ignore[override]
        ctx: Any, gradient: torch.Tensor
    ) -> tuple[torch.Tensor | None, ...]:
        """Return the gradients of `out`, `x`, `a` and `b`, each of its tensor's shape.

        `gradient` is that of the sum, (slots, tokens, outputs).
        """
        x, a, b, scale, kept, reduced = ctx.saved_tensors
        wide = gradient.float()
        of_reduced = torch.bmm(wide, b) * scale
        of_b = torch.bmm(wide.mT, reduced)
        of_a = torch.bmm(of_reduced.mT, _left(x, kept))
        of_x = None
        if ctx.needs_input_grad[1]:
            of_x = _left(torch.bmm(of_reduced, a), kept).to(x.dtype)
        return gradient, of_x, of_a, of_b, None, None, None


def _left(x: torch.Tensor, kept: torch.Tensor | None) -> torch.Tensor:
    """Return what dropout leaves of `x`, in float32."""
    return x.float() if kept is None else x.float() * kept


def _sum(out: torch.Tensor, term: torch.Tensor, *, rounded: bool) -> torch.Tensor:
    """Return the sum in the precision of `out`; the term is float32."""
    return (out + (term.to(out.dtype) if rounded else term)).to(out.dtype)


def add_low_rank_in_turn(
    out: torch.Tensor,
    x: torch.Tensor,
    a: torch.Tensor,
    b: torch.Tensor,
    scale: torch.Tensor,
    sizes: list[int],
    kept: torch.Tensor | None = None,
    *,
    rounded: bool = False,
) -> torch.Tensor:
    """Return what `AddLowRank` does, slot by slot with torch's own operations: the reference.

    Of `out` (tokens, outputs) and `x` (tokens, inputs) the first ``sizes[0]`` tokens are the first
    slot's, and so on: the slots may have unequally many. `a`, `b`, `scale` and `rounded` are those
    of `AddLowRank`, `kept` has the shape of `x`. Returns (tokens, outputs).
    """
    wide = _left(x, kept)
    added = [
        own @ a[slot].mT * scale[slot] @ b[slot].mT
        for slot, own in enumerate(torch.split(wide, sizes))
    ]
    return _sum(out, torch.cat(added), rounded=rounded)
