"""The weights of some slots, as the segments that a packed model carries."""

from collections.abc import Sequence
from itertools import groupby

import torch

from workers.packing.arena import Arena
from workers.packing.layout import Matrices
from workers.packing.model import BatchSegment
from workers.packing.slot import PackedSlot


def training(slots: Sequence[PackedSlot]) -> list[BatchSegment]:
    """Return the slots' own weights, as leaves of autograd.

    The slots of an arena must be neighbours: it can give leaves for one run of them at a time.
    """
    return [
        BatchSegment(matrices=arena.leaves(tuple(slot.name for slot in own)), scale=_scales(own))
        for arena, own in _runs(slots)
    ]


def copied(
    slots: Sequence[PackedSlot], weights: Sequence[Matrices] | None = None
) -> list[BatchSegment]:
    """Return copies of the slots' weights, or of `weights` in their stead, one for each."""
    parts, first = [], 0
    for arena, own in _runs(slots):
        rows = arena.copies(tuple(slot.name for slot in own))
        if weights:
            for row, matrices in zip(rows, weights[first : first + len(own)], strict=True):
                arena.layout.packed(matrices, row)
        parts.append(BatchSegment(matrices=arena.layout.matrices(rows), scale=_scales(own)))
        first += len(own)
    return parts


def _runs(slots: Sequence[PackedSlot]) -> list[tuple[Arena, list[PackedSlot]]]:
    """Return the slots, in their order, in runs of neighbours that share an arena."""
    grouped = groupby(slots, key=lambda slot: id(slot.arena))
    runs = [list(own) for _, own in grouped]
    return [(own[0].arena, own) for own in runs]


def _scales(slots: Sequence[PackedSlot]) -> torch.Tensor:
    """Return the factors of B A (slots, 1, 1)."""
    device = slots[0].parameter.device
    return torch.tensor([slot.fresh.scale for slot in slots], device=device)[:, None, None]
