"""A pack: the slots of one base, trained together step by step.

One micro-step is one forward and backward pass over some rows of every slot that trains. The base
does its part for all rows at once; each adapted layer adds the slots' low-rank terms
(`workers.packing.linear`). The loss is a sum over the slots, whose weights have nothing in common:
the gradient of each is what it would be alone. Slots join and leave between two micro-steps, and
step their optimizers when they have seen their own batch, each in its own time.
"""

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch

from workers.families.base import Base
from workers.memory import errors
from workers.memory.device import DeviceMemory
from workers.packing import batches, segments
from workers.packing.layout import Matrices
from workers.packing.limits import PassLimits
from workers.packing.micro_batch import micro_batch
from workers.packing.model import Bare, PackedModel
from workers.packing.slot import Epoch, PackedSlot, SlotExamples
from workers.packing.slots import Slots
from workers.recipe import Recipe
from workers.training.loop import Examples, checkpointing


@dataclass(frozen=True, kw_only=True)
class EpochEnd:
    """A slot that has done its epoch, or cannot go on."""

    slot: PackedSlot
    loss: float
    """Mean over the optimizer steps of the epoch; not finite where there is an error."""
    error: Exception | None = None


class Pack:
    """Slots of one base: some train, the others wait for their next epoch or are evaluated.

    Args:
        base: what the slots have in common.
        bare: context in which adapters that others have put on it do nothing.
        device_memory: says what fits; None where nothing is known of it.
    """

    def __init__(
        self,
        base: Base,
        bare: Bare = nullcontext,
        device_memory: DeviceMemory | None = None,
    ) -> None:
        self.base = base
        self._memory = device_memory or DeviceMemory()
        self.model = PackedModel(base, bare)
        # Micro-steps after which losses are looked at: looking waits for the device.
        self._check_every = 1 if base.device.type == "cpu" else 16
        self.limits = PassLimits()
        self._slots = Slots(base)
        self._epochs: dict[str, Epoch] = {}
        """Of the slots that train."""
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

    def admit(self, name: str, recipe: Recipe) -> PackedSlot:
        """Give a new trial a slot; its seed decides its weights.

        Raises ValueError, naming ``adapter.targets``, for what the base does not have.
        """
        return self._slots.admit(name, recipe)

    def evict(self, name: str) -> None:
        """Take a slot away in whatever it is doing; the others do not notice."""
        self.drop(name)
        self._slots.evict(name)
        self.limits = PassLimits()  # the one that left may have been what did not fit

    def begin(self, name: str, examples: Examples) -> None:
        """Let a slot train for its next epoch, from the next step on."""
        self._epochs[name] = Epoch(slot=self._slots[name], examples=examples)

    def drop(self, name: str) -> None:
        """Forget what is left of a slot's epoch; nothing for one that does not train."""
        if self._epochs.pop(name, None):
            self._slots[name].forget_gradient()

    def step(self) -> list[EpochEnd]:
        """Do one micro-step of the slots that train; return those that have done their epoch.

        When memory runs out, the optimizer steps in flight begin again, with fewer rows or slots at
        a time from then on; what does not even fit alone ends with that error.
        """
        epochs = self._in_rows()
        most = self.limits.rows or self._planned_rows(epochs)
        size = micro_batch([epoch.remaining for epoch in epochs], most)
        epochs, taken, ends = self._taken(epochs, size)
        if not epochs:
            return ends
        failure = None
        try:
            losses = self._losses(epochs, taken, size)
        except Exception as error:
            if not errors.is_out_of_memory(error):
                raise
            failure = error.with_traceback(None)  # its frames hold what did not fit
        if failure:
            return ends + self._retreat(epochs, size, failure)
        self._micro_steps += 1
        check = self._micro_steps % self._check_every == 0
        reached = [
            self._went_on(epoch, loss, check=check)
            for epoch, loss in zip(epochs, losses, strict=True)
        ]
        self._memory.trained([epoch.slot.name for epoch in epochs], size)
        return ends + [end for end in reached if end]

    @contextmanager
    def adapted(
        self, names: Sequence[str], weights: Sequence[Matrices] | None = None
    ) -> Iterator[Any]:
        """Give the model with the adapters of these slots for a batch of rows ordered by them.

        In inference only. `weights` stand in for the slots' own, one for each name.
        """
        slots = [self._slots[name] for name in names]
        with self.model.carrying(segments.copied(slots, weights)) as model:
            yield model

    def _in_rows(self) -> list[Epoch]:
        """Return what trains in the next step, in the order of the rows.

        Where not all fit, those that are furthest behind.
        """
        behind = sorted(self._epochs.values(), key=lambda epoch: -epoch.left)
        chosen = {epoch.slot.name for epoch in behind[: self.limits.slots]}
        return [self._epochs[name] for name in self._slots.in_rows(chosen)]

    def _planned_rows(self, epochs: Sequence[Epoch]) -> int:
        """Return the most rows of each slot that are expected to fit."""
        wanted = max(epoch.slot.recipe.train.batch_size for epoch in epochs)
        return self._memory.rows([epoch.slot.name for epoch in epochs], wanted)

    def _taken(
        self, epochs: Sequence[Epoch], size: int
    ) -> tuple[list[Epoch], list[SlotExamples], list[EpochEnd]]:
        """Return whose examples could be read, with those; and the ends of the others."""
        reading, taken, ends = [], [], []
        for epoch in epochs:
            try:
                taken.append(epoch.take(size))
                reading.append(epoch)
            except Exception as error:  # its own: the others go on
                ends.append(self._ended(epoch, error))
        return reading, taken, ends

    def _losses(
        self, epochs: Sequence[Epoch], taken: Sequence[SlotExamples], size: int
    ) -> torch.Tensor:
        """Return each slot's share (slots,) of its loss; the gradients are added to its own."""
        batch = batches.training_batch(self.base, taken, size)
        recipes = [epoch.slot.recipe for epoch in epochs]
        smoothing = torch.tensor([recipe.train.label_smoothing for recipe in recipes])
        # A slot's loss is the mean over the learned tokens of its whole optimizer step.
        shares = torch.tensor([1.0 / own.tokens for own in taken], device=self.base.device)
        recomputed = any(recipe.train.activation_checkpointing for recipe in recipes)
        parts = self._slots.training_segments([epoch.slot for epoch in epochs])
        draws = batches.draws(self.base, recipes, taken, parts, size)
        with self.model.carrying(parts, draws) as model, checkpointing(self.base, recomputed):
            if not model.training:
                model.train()
            losses = self.model.losses(batch, smoothing.repeat_interleave(size)) * shares
            losses.sum().backward()  # type: ignore[no-untyped-call]
        return losses.detach()

    def _went_on(self, epoch: Epoch, loss: torch.Tensor, *, check: bool) -> EpochEnd | None:
        """Let a slot count its loss; return what became of it if its epoch has ended."""
        try:
            epoch.add(loss)
            if epoch.remaining:
                if check:
                    epoch.check()
                return None
            mean = epoch.mean_loss()
        except Exception as error:  # its own: the others go on
            return self._ended(epoch, error)
        del self._epochs[epoch.slot.name]
        epoch.slot.rung += 1
        return EpochEnd(slot=epoch.slot, loss=mean)

    def _ended(self, epoch: Epoch, error: Exception) -> EpochEnd:
        self.drop(epoch.slot.name)
        return EpochEnd(slot=epoch.slot, loss=getattr(error, "loss", math.nan), error=error)

    def _retreat(self, epochs: Sequence[Epoch], size: int, failure: Exception) -> list[EpochEnd]:
        """Make the next steps smaller; return the slot for which nothing smaller is left."""
        for epoch in epochs:
            epoch.rewind()
        smaller = self._memory.retreat([epoch.slot.name for epoch in epochs], size)
        if not smaller:
            return [self._ended(epoch, failure) for epoch in epochs]
        self.limits = PassLimits(rows=smaller.micro_batch, slots=len(smaller.trials))
        return []
