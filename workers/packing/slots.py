"""The slots of a pack by name, and the arenas that hold their weights.

Slots of one layout, which is a rank class and a set of adapted layers, share an arena. The rows of
a batch are ordered by arenas and, within one, by its rows: so each arena's slots are one segment.
"""

from collections.abc import Collection, Sequence

import torch

from workers.families.base import Base
from workers.packing import segments
from workers.packing.arena import Arena
from workers.packing.layout import PackLayout, rank_class
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
        """What `training_segments` returned last."""
        self._trained_names: tuple[str, ...] | None = None
        """For whom; None once a slot has joined or left."""

    def __getitem__(self, name: str) -> PackedSlot:
        return self._slots[name]

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
        arena = self._arenas[layout]
        parameter = arena.add(name, adapter.matrices)
        self._trained_names = None
        train = recipe.train
        # One flat parameter: AdamW works on single weights and does not see the layers.
        optimizer = torch.optim.AdamW(
            [parameter], lr=train.learning_rate, weight_decay=train.weight_decay, fused=True
        )
        self._slots[name] = PackedSlot(
            name=name, recipe=recipe, fresh=adapter,
            arena=arena, parameter=parameter, optimizer=optimizer,
        )  # fmt: skip
        return self._slots[name]

    def evict(self, name: str) -> None:
        """Take a slot away, and its arena with the last one in it."""
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
            self._segments = segments.training(slots)
            self._trained_names = names
        return self._segments
