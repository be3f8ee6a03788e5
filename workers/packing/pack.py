"""A pack: the slots of one base, trained together step by step.

One micro-step is one forward and backward pass over some rows of every slot that trains. The base
does its part for all rows at once; each adapted layer adds the slots' low-rank terms
(`workers.packing.linear`). The loss is a sum over the slots, whose weights have nothing in common:
the gradient of each is what it would be alone. Slots join and leave between two micro-steps, and
step their optimizers when they have seen their own batch, each in its own time.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import torch

from workers import collation
from workers.collation import IGNORED, Batch
from workers.models import Base
from workers.packing import dropout
from workers.packing.arena import Arena
from workers.packing.dropout import Draws
from workers.packing.layout import Layout, Matrices, rank_class
from workers.packing.micro_batch import micro_batch
from workers.packing.model import Bare, PackedModel, Segment
from workers.packing.peft_weights import fresh
from workers.packing.slot import Epoch, PackedSlot, Taken
from workers.recipe import Recipe
from workers.training import Examples, NonFiniteLossError, checkpointing


@dataclass(frozen=True, kw_only=True)
class EpochEnd:
    """A slot that has done its epoch, or cannot go on."""

    slot: PackedSlot
    loss: float
    """Mean over the optimizer steps of the epoch; not finite where there is an error."""
    error: NonFiniteLossError | None = None


class Pack:
    """Slots of one base.

    Args:
        base: what the slots have in common.
        bare: context in which adapters that others have put on it do nothing.
        check_every: micro-steps after which losses are looked at; looking waits for the device.
    """

    def __init__(
        self, base: Base, bare: Bare = nullcontext, check_every: int | None = None
    ) -> None:
        self.base = base
        self.model = PackedModel(base, bare)
        self._check_every = check_every or (1 if base.device.type == "cpu" else 16)
        self._arenas: dict[Layout, Arena] = {}
        self._slots: dict[str, PackedSlot] = {}
        self._epochs: dict[str, Epoch] = {}
        self._segments: list[Segment] = []
        self._trained_names: tuple[str, ...] | None = None
        self._micro_steps = 0

    @property
    def busy(self) -> bool:
        """Whether any slot trains."""
        return bool(self._epochs)

    @property
    def training(self) -> tuple[str, ...]:
        """Names of the slots that train."""
        return tuple(self._epochs)

    @property
    def left(self) -> float:
        """Share of its epoch that the slot has left which is done first; 1 if none trains."""
        return min((epoch.left for epoch in self._epochs.values()), default=1.0)

    def admit(self, name: str, recipe: Recipe, weights: Matrices | None = None) -> PackedSlot:
        """Give a new trial a slot; its weights are those that its seed decides, if not given.

        Raises ValueError, naming ``adapter.targets``, for what the base does not have.
        """
        adapter = fresh(recipe.adapter, self.base, recipe.train.seed)
        layout = Layout(adapter.layers, rank_class(recipe.adapter.rank))
        if layout not in self._arenas:
            self._arenas[layout] = Arena(layout, self.base.device)
        arena = self._arenas[layout]
        parameter = arena.add(name, weights or adapter.matrices)
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
        """Take a slot away in whatever it is doing; the others do not notice."""
        self.drop(name)
        slot = self._slots.pop(name)
        slot.arena.remove(name)
        self._trained_names = None
        if not slot.arena.names:
            del self._arenas[slot.arena.layout]

    def begin(self, name: str, examples: Examples) -> None:
        """Let a slot train for its next epoch, from the next step on."""
        self._epochs[name] = Epoch(slot=self._slots[name], examples=examples)

    def drop(self, name: str) -> None:
        """Forget what is left of a slot's epoch; nothing for one that does not train."""
        if self._epochs.pop(name, None):
            self._slots[name].forget_gradient()

    def step(self, most: int | None = None) -> list[EpochEnd]:
        """Do one micro-step of all slots that train; return those that have done their epoch.

        Args:
            most: rows of a slot in one pass; None takes the largest ``train.batch_size``.
        """
        epochs = self._in_rows()
        sizes = [epoch.slot.recipe.train.batch_size for epoch in epochs]
        size = micro_batch([epoch.remaining for epoch in epochs], most or max(sizes))
        taken = [epoch.take(size) for epoch in epochs]
        for epoch, loss in zip(epochs, self._losses(epochs, taken, size), strict=True):
            epoch.add(loss)
        self._micro_steps += 1
        check = self._micro_steps % self._check_every == 0
        done = [self._looked_at(epoch) for epoch in epochs if check or not epoch.remaining]
        return [end for end in done if end]

    @contextmanager
    def adapted(
        self, names: Sequence[str], weights: Sequence[Matrices] | None = None
    ) -> Iterator[Any]:
        """Give the model with the adapters of these slots for a batch of rows ordered by them.

        In inference only. `weights` stand in for the slots' own, one for each name.
        """
        slots = [self._slots[name] for name in names]
        with self.model.carrying(_copied(slots, weights)) as model:
            yield model

    def matrices(self, name: str) -> Matrices:
        """Return views of a slot's weights, of its true rank."""
        slot = self._slots[name]
        return slot.arena.layout.unpacked(slot.parameter.data, slot.recipe.adapter.rank)

    def _in_rows(self) -> list[Epoch]:
        """Return what trains, ordered by arenas: the order of the rows of the batch."""
        return [
            self._epochs[name]
            for arena in self._arenas.values()
            for name in arena.names
            if name in self._epochs
        ]

    def _looked_at(self, epoch: Epoch) -> EpochEnd | None:
        """Return what became of a slot that has done its epoch or whose loss is not finite."""
        name = epoch.slot.name
        try:
            loss = epoch.mean_loss()
        except NonFiniteLossError as error:
            del self._epochs[name]
            return EpochEnd(slot=epoch.slot, loss=error.loss, error=error)
        if epoch.remaining:
            return None
        del self._epochs[name]
        epoch.slot.rung += 1
        return EpochEnd(slot=epoch.slot, loss=loss)

    def _losses(self, epochs: Sequence[Epoch], taken: Sequence[Taken], size: int) -> torch.Tensor:
        """Return each slot's share (slots,) of its loss; the gradients are added to its own."""
        batch = self._batch(epochs, taken, size)
        recipes = [epoch.slot.recipe for epoch in epochs]
        smoothing = torch.tensor([recipe.train.label_smoothing for recipe in recipes])
        shares = torch.tensor([1.0 / own.tokens for own in taken], device=self.base.device)
        wanted = any(recipe.train.activation_checkpointing for recipe in recipes)
        segments = self._training_segments([epoch.slot for epoch in epochs])
        draws = self._draws(recipes, taken, segments, size)
        with self.model.carrying(segments, draws) as model, checkpointing(self.base, wanted):
            if not model.training:
                model.train()
            losses = self.model.losses(batch, smoothing.repeat_interleave(size)) * shares
            losses.sum().backward()  # type: ignore[no-untyped-call]
        return losses.detach()

    def _training_segments(self, slots: Sequence[PackedSlot]) -> list[Segment]:
        """Return the weights of the slots that train, as leaves of the graph."""
        names = tuple(slot.name for slot in slots)
        if names != self._trained_names:
            self._segments = [
                Segment(matrices=arena.leaves(tuple(s.name for s in own)), scale=_scales(own))
                for arena, own in _runs(slots)
            ]
            self._trained_names = names
        return self._segments

    def _draws(
        self,
        recipes: Sequence[Recipe],
        taken: Sequence[Taken],
        segments: Sequence[Segment],
        size: int,
    ) -> list[Draws | None]:
        """Return the dropout of each segment's rows."""
        draws, first = [], 0
        for segment in segments:
            slots = range(first, first + segment.scale.shape[0])
            keys = [_filled(taken[slot].keys, size) for slot in slots]
            dropped = [recipes[slot].adapter.dropout for slot in slots]
            draws.append(dropout.of_slots(keys, dropped, self.base.device))
            first = slots.stop
        return draws

    def _batch(self, epochs: Sequence[Epoch], taken: Sequence[Taken], size: int) -> Batch:
        """Return `size` rows of each slot; those that fill up a slot have no labels."""
        images, rows, filler = [], [], []
        for epoch, own in zip(epochs, taken, strict=True):
            positions = _filled(own.positions, size)
            images += epoch.examples.images(positions)
            rows += epoch.examples.rows(positions)
            filler += [place >= len(own.positions) for place in range(size)]
        batch = collation.batch_of(self.base, images, rows)
        if any(filler):
            batch["labels"][torch.tensor(filler)] = IGNORED
        return batch


def _filled(values: tuple[int, ...], size: int) -> list[int]:
    """Return `size` values: those that are missing are the first once more."""
    return [*values, *values[:1] * (size - len(values))]


def _runs(slots: Sequence[PackedSlot]) -> list[tuple[Arena, list[PackedSlot]]]:
    """Return the slots in runs of one arena."""
    grouped = groupby(slots, key=lambda slot: id(slot.arena))
    runs = [list(own) for _, own in grouped]
    return [(own[0].arena, own) for own in runs]


def _scales(slots: Sequence[PackedSlot]) -> torch.Tensor:
    """Return the factors of B A (slots, 1, 1)."""
    device = slots[0].parameter.device
    return torch.tensor([slot.fresh.scale for slot in slots], device=device)[:, None, None]


def _copied(slots: Sequence[PackedSlot], weights: Sequence[Matrices] | None) -> list[Segment]:
    """Return copies of the slots' weights, or of `weights` in their stead."""
    segments, first = [], 0
    for arena, own in _runs(slots):
        rows = arena.copies(tuple(slot.name for slot in own))
        if weights:
            for row, matrices in zip(rows, weights[first:], strict=False):
                arena.layout.packed(matrices, row)
        segments.append(Segment(matrices=arena.layout.matrices(rows), scale=_scales(own)))
        first += len(own)
    return segments
