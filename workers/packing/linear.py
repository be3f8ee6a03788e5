r"""A linear layer of the base with the low-rank terms of all slots of a pack.

For slot k, with its rows x_k of the batch, :math:`y_k = W x_k + s_k B_k A_k x_k` (LoRA, Hu et al.
2021). W is the frozen base's and is applied to all rows in one product; the second term is one
batched product over the slots for A and one for B. Slots are sliced, never masked out by zeros:
one that holds NaN changes no other. The idea is that of BatchLoRA in mLoRA (Ye et al. 2023), and of
Punica (Chen et al. 2023) for inference.

As in peft the low-rank term is computed in float32, whatever the precision of the base. The sum is
rounded to that precision; on a quantized layer peft rounds the term, too, before it adds it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

import torch

from workers.packing.dropout import DropoutMasks, salt_of


@dataclass
class Route:
    """The rows of the batch by slot; all layers of a pack read the same route."""

    slots: int = 0
    """Slots in the batch. Their rows follow one another, equally many of each."""
    masks: Sequence[DropoutMasks | None] = ()
    """Dropout of each segment's rows."""
    scales: Sequence[torch.Tensor] = ()
    """Factors of B A for each segment (slots, 1, 1), dropout's gain in it."""
    learned: torch.Tensor | None = None
    """(rows, positions): which of them reach the head, where it is label positions only."""


@dataclass(frozen=True)
class Share:
    """The slots of one segment, as one layer sees them."""

    number: int
    """Number of its segment, by which `Route` is read."""
    first: int
    """Place of its first slot among those of the batch."""
    a: torch.Tensor
    """(slots, rank, inputs)."""
    b: torch.Tensor
    """(slots, outputs, rank)."""

    @property
    def end(self) -> int:
        """Place after its last slot."""
        return self.first + self.a.shape[0]


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
        self.shares: tuple[Share, ...] = ()
        """In the order of the rows. Slots between them have no adapter in this layer."""
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

        The rows of `x`, its first axis, are ordered by slot, equally many of each; a slot without
        an adapter in this layer gets the base's output.
        """
        out: torch.Tensor = self.base(x)
        if self._head and self._route.learned is not None:
            return self._unequal(out, x, self._route.learned.chunk(self._route.slots))
        slots = self._route.slots
        outs = out.reshape(slots, -1, out.shape[-1])
        xs = x.reshape(slots, -1, x.shape[-1])
        pieces, done = [], 0
        for share in self.shares:
            if done < share.first:
                pieces.append(outs[done : share.first])
            own_outs, own_xs = outs, xs
            if share.a.shape[0] < slots:
                own_outs, own_xs = outs[share.first : share.end], xs[share.first : share.end]
            masks, scale = self._route.masks[share.number], self._route.scales[share.number]
            kept = masks.kept(own_xs, self._salt) if masks else None
            added: torch.Tensor = AddLowRank.apply(  # type: ignore[no-untyped-call]
                own_outs, own_xs, share.a, share.b, scale, kept, self._rounded
            )
            pieces.append(added)
            done = share.end
        if done < slots:
            pieces.append(outs[done:])
        return (pieces[0] if len(pieces) == 1 else torch.cat(pieces)).view(out.shape)

    def _unequal(
        self, out: torch.Tensor, x: torch.Tensor, learned: Sequence[torch.Tensor]
    ) -> torch.Tensor:
        """Return the output for tokens of which the slots have unequally many."""
        sizes = [int(own.sum()) for own in learned]
        starts = [sum(sizes[:slot]) for slot in range(len(sizes) + 1)]
        pieces, done = [], 0
        for share in self.shares:
            begin, end = starts[share.first], starts[share.end]
            own, tokens = slice(begin, end), learned[share.first : share.end]
            masks, kept = self._route.masks[share.number], None
            if masks:
                rows, places = torch.cat([*tokens]).nonzero(as_tuple=True)
                kept = masks.at(rows, places).kept(x[own], self._salt)
            scale, counts = self._route.scales[share.number], sizes[share.first : share.end]
            added = add_low_rank_in_turn(
                out[own], x[own], share.a, share.b, scale, counts, kept, rounded=self._rounded
            )
            pieces += [out[done:begin], added]
            done = end
        return torch.cat([*pieces, out[done:]])


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
    parts = enumerate(torch.split(wide, sizes))
    added = [own @ a[slot].mT * scale[slot] @ b[slot].mT for slot, own in parts]
    return _sum(out, torch.cat(added), rounded=rounded)
