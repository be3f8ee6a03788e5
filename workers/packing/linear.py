"""A linear layer of the base with the low-rank terms of all slots of a pack."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

import torch

from workers.packing.dropout import DropoutMasks, salt_of
from workers.packing.low_rank import AddLowRank, add_low_rank_in_turn


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
