"""The slots of a pack by name, and the arenas that hold their weights.

Slots of one layout, which is a rank class and a set of adapted layers, share an arena. The rows of
a batch are ordered by arenas and, within one, by its rows: so each arena's slots are one segment.
"""

from collections.abc import Collection, Sequence
from itertools import groupby

import torch

from workers.families.base import Base
from workers.packing.arena import Arena, Matrices, PackLayout, rank_class
from workers.packing.model import BatchSegment
from workers.packing.peft_weights import fresh
from workers.packing.slot import PackedSlot
from workers.recipe import Recipe


class Slots:
    """All slots on one base, training or not."""

    def __init__(self, base: Base) -> None:
        self._base = base
        self._arenas: dict[PackLayout, Arena] = {}
        self._slots: dict[str, PackedSlot] = {}
        self._segments: list[BatchSegment] = []
        """The last result of `training_segments`."""
        self._trained_names: tuple[str, ...] | None = None
        """The slots it was for; None once a slot has joined or left."""

    def __getitem__(self, name: str) -> PackedSlot:
        return self._slots[name]

    def __len__(self) -> int:
        return len(self._slots)

    def admit(self, name: str, recipe: Recipe) -> PackedSlot:
        """Give a new trial a slot; its seed decides its weights.

        Raises ValueError for a name that is taken, and, naming ``adapter.targets``, for what the
        base does not have.
        """
        if name in self._slots:
            raise ValueError(f"a slot must have a name of its own, {name!r} is there already")
        adapter = fresh(recipe.adapter, self._base, recipe.train.seed)
        layout = PackLayout(adapter.layers, rank_class(recipe.adapter.rank))
        if layout not in self._arenas:
            self._arenas[layout] = Arena(layout, self._base.device)
        arena, train = self._arenas[layout], recipe.train
        parameter = arena.add(name, adapter.matrices)
        self._trained_names = None
        # One flat parameter: AdamW works on single weights and does not see the layers.
        optimizer = torch.optim.AdamW(
            [parameter], lr=train.learning_rate, weight_decay=train.weight_decay, fused=True
        )
        slot = PackedSlot(name, recipe, adapter, arena, parameter, optimizer)
        self._slots[name] = slot
        return slot

    def evict(self, name: str) -> None:
        """Remove a slot, and its arena with the last one in it."""
        arena = self._slots.pop(name).arena
        arena.remove(name)
        self._trained_names = None
        if not arena.names:
            del self._arenas[arena.layout]

    def in_rows(self, names: Collection[str]) -> list[str]:
        """Return these names in the order that their rows have in a batch."""
        return [name for arena in self._arenas.values() for name in arena.names if name in names]

    def training_segments(self, slots: Sequence[PackedSlot]) -> list[BatchSegment]:
        """Return the weights of `slots`, ordered as by `in_rows`, as leaves of autograd."""
        names = tuple(slot.name for slot in slots)
        if names != self._trained_names:
            self._segments = [
                BatchSegment(arena.leaves(tuple(slot.name for slot in own)), _scales(own))
                for arena, own in _runs(slots)
            ]
            self._trained_names = names
        return self._segments

    def copied_segments(
        self, names: Sequence[str], weights: Sequence[Matrices] | None = None
    ) -> list[BatchSegment]:
        """Return copies of these slots' weights, or of `weights` in their stead, one for each."""
        copies, first = [], 0
        for arena, own in _runs([self._slots[name] for name in names]):
            rows = arena.copies(tuple(slot.name for slot in own))
            if weights:
                for row, matrices in zip(rows, weights[first : first + len(own)], strict=True):
                    arena.layout.packed(matrices, row)
            copies.append(BatchSegment(arena.layout.matrices(rows), _scales(own)))
            first += len(own)
        return copies


def _runs(slots: Sequence[PackedSlot]) -> list[tuple[Arena, list[PackedSlot]]]:
    """Return the slots, in their order, in runs of neighbours that share an arena."""
    runs = [list(own) for _, own in groupby(slots, key=lambda slot: id(slot.arena))]
    return [(own[0].arena, own) for own in runs]


def _scales(slots: Sequence[PackedSlot]) -> torch.Tensor:
    """Return the factors of B A (slots, 1, 1)."""
    device = slots[0].parameter.device
    return torch.tensor([slot.fresh.scale for slot in slots], device=device)[:, None, None]
