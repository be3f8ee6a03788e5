"""A pack: the slots of one base, trained and evaluated together.

One micro-step is one forward and backward pass over some rows of every slot that trains. The base
does its part for all rows at once; each adapted layer adds the slots' low-rank terms
(`workers.packing.linear`). The loss is a sum over the slots, whose weights have nothing in common:
the gradient of each is what it would be alone. Slots join and leave between two micro-steps, and
step their optimizers when they have seen their own batch, each in its own time.
"""

import math
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path

import torch

from workers.encoding import collation
from workers.encoding.collation import to_device
from workers.evaluation.evaluator import Evaluator
from workers.families.base import Base
from workers.measures import MemoryReading, read_memory, shared
from workers.memory import errors
from workers.memory.device import DeviceMemory
from workers.memory.limits import Limits
from workers.models.parts import check_learning_rates
from workers.packing.arena import Arena, Matrices, PackLayout
from workers.packing.dropout import DropoutLayout
from workers.packing.epoch import Epoch, SlotExamples
from workers.packing.loss_scales import LossScales, new_scale
from workers.packing.model import (
    Bare,
    CarriedSlots,
    PackedModel,
    SlotTokens,
    dropout_keys,
    micro_batch,
    precision_of,
    training_batch,
)
from workers.packing.optimizer import RateSpan, rate_spans, step_rows
from workers.packing.slot import PackedSlot, fresh_adapter, saved_matrices
from workers.recipe import Recipe
from workers.report import Prediction
from workers.slots.protocol import TrainedEpoch, Written
from workers.training import loop
from workers.training.loop import Examples, checkpointing
from workers.training.optimizer import scales_loss

LINGER = 0.1
"""Share of an epoch for which a slot that has done its own waits for others that are nearly done,
so that their captions are written together. In lockstep they arrive together anyway."""


class Slots:
    """All slots on one base by name, training or not, and the arena that holds their rows."""

    def __init__(self, base: Base) -> None:
        self._base = base
        self._arena = Arena(base.device)
        self._slots: dict[str, PackedSlot] = {}
        self._training: tuple[tuple[str, ...], CarriedSlots, list[RateSpan]] | None = None
        """Whom `training` was for, its result, and their learning rates; None once a slot joined or
        left."""

    def __getitem__(self, name: str) -> PackedSlot:
        return self._slots[name]

    def __len__(self) -> int:
        return len(self._slots)

    def admit(self, name: str, recipe: Recipe) -> PackedSlot:
        """Give a new trial a slot; its seed decides its weights.

        Raises ValueError for a name that is taken, and, naming the field, for what the base does
        not have.
        """
        if name in self._slots:
            raise ValueError(f"a slot must have a name of its own, {name!r} is there already")
        fresh = fresh_adapter(recipe.adapter, self._base, recipe.train.seed)
        check_learning_rates(recipe.train, [layer.path for layer in fresh.layers])
        self._training = None
        self._arena.add(name, PackLayout(fresh.layers, recipe.adapter.rank), fresh.matrices)
        scale = new_scale(self._base.device) if scales_loss(self._base) else None
        self._slots[name] = PackedSlot(name, recipe, fresh, self._arena, scale)
        return self._slots[name]

    def evict(self, name: str) -> None:
        """Remove a slot."""
        del self._slots[name]
        self._training = None
        self._arena.remove(name)

    def in_rows(self, names: Collection[str]) -> list[str]:
        """Return these names in the order that their rows have in the arena."""
        return [name for name in self._arena.names if name in names]

    def training(self, slots: Sequence[PackedSlot]) -> CarriedSlots:
        """Return `slots` as they are trained, whose rows move to the front for it."""
        names = tuple(slot.name for slot in slots)
        if self._training is None or self._training[0] != names:
            layout = self._arena.layout
            rows = self._arena.first(names)
            read = [(layer.path, layer.inputs) for layer in layout.layers]
            dropped = [slot.recipe.adapter.dropout for slot in slots]
            scales = None
            if scales_loss(self._base):
                scales = LossScales([s.loss_scale for s in slots if s.loss_scale is not None])
                for slot, row in zip(slots, scales.rows, strict=True):
                    slot.loss_scale = row
            carried = CarriedSlots(
                layout=layout,
                values=rows["values"],
                scale=self._scale(names),
                gradients=rows["gradients"],
                dropout=DropoutLayout.of(dropped, self._base.device, read),
                loss_scales=scales,
            )
            spans = rate_spans(layout, [slot.recipe for slot in slots])
            self._training = names, carried, spans
        return self._training[1]

    def step(self, epochs: Sequence[Epoch]) -> None:
        """Step the optimizers of those that `training` was called for and whose step is due."""
        steps = [epoch.due() for epoch in epochs]
        if any(steps):
            assert self._training is not None
            _, carried, spans = self._training
            rows = self._arena.first([epoch.slot.name for epoch in epochs])
            step_rows(rows, steps, spans, carried.loss_scales)

    def copied(
        self, names: Sequence[str], weights: Mapping[str, Matrices] | None = None
    ) -> CarriedSlots:
        """Return copies of these slots' weights, or of `weights` by their names in their stead."""
        layout, rows = self._arena.layout, self._arena.copies(names)
        if weights:
            for name, row in zip(names, rows, strict=True):
                layout.packed(weights[name], row)
        return CarriedSlots(layout=layout, values=rows, scale=self._scale(names))

    def _scale(self, names: Sequence[str]) -> torch.Tensor:
        scale = torch.tensor([self._slots[name].fresh.scale for name in names])
        return scale[:, None, None].to(self._base.device)


class Pack:
    """The `Trainer` of slots that share a forward: some train, the others wait or are evaluated.

    Args:
        base: what the slots have in common.
        bare: context in which adapters that others have put on it do nothing.
        device_memory: estimates what fits; None without an estimate.
        compute_dtype: precision of the products with A and B, see ``adapter.compute_dtype``.
    """

    def __init__(
        self,
        base: Base,
        bare: Bare = nullcontext,
        device_memory: DeviceMemory | None = None,
        compute_dtype: str = "auto",
    ) -> None:
        self._base = base
        self._memory = device_memory or DeviceMemory()
        self._model = PackedModel(base, bare, precision_of(compute_dtype, base))
        self._slots = Slots(base)
        self._epochs: dict[str, Epoch] = {}
        """The slots that train."""
        self._lingering: list[TrainedEpoch] = []
        """Slots that have done their epoch and wait, see `LINGER`."""
        self.limits = Limits(self._memory)
        """Slots in one pass and rows of each since memory ran out."""
        self._micro_steps = 0
        self._unread: list[tuple[list[tuple[Epoch, int]], torch.Tensor]] = []
        """Of each micro-step whose losses (slots,) are not read yet: the slots' optimizer steps."""
        # Micro-steps after which losses are looked at: looking waits for the device.
        self._check_every = 1 if base.device.type == "cpu" else 16

    @property
    def busy(self) -> bool:
        """Whether any slot trains."""
        return bool(self._epochs or self._lingering)

    @property
    def occupied(self) -> bool:
        """Whether there is any slot."""
        return bool(len(self._slots))

    def admit(self, name: str, recipe: Recipe) -> PackedSlot:
        """Open a slot for a new trial; its seed decides its weights.

        Raises ValueError, naming ``adapter.targets``, for what the base does not have.
        """
        return self._slots.admit(name, recipe)

    def evict(self, name: str) -> None:
        """Close a slot, also in the middle of an epoch; the others are not affected."""
        self.drop(name)
        self._slots.evict(name)

    def begin(self, name: str, examples: Examples) -> None:
        """Begin the next epoch of a slot, with the next step."""
        self._epochs[name] = Epoch(self._slots[name], examples)

    def drop(self, name: str) -> int:
        """Forget what is left of a slot's epoch; return the optimizer steps that it has taken."""
        steps = sum(trained.steps for trained in self._lingering if trained.slot.name == name)
        self._lingering = [trained for trained in self._lingering if trained.slot.name != name]
        if epoch := self._epochs.pop(name, None):
            self._slots[name].forget_gradient()
            steps = epoch.steps
        return steps

    def step(self) -> list[TrainedEpoch]:
        """Do one micro-step of all that train; return the slots whose epoch has ended."""
        if self._epochs:
            with shared([epoch.meter for epoch in self._epochs.values()]) as memory:
                ended = self._micro_step(memory)
            self._lingering += [epoch.trained() for epoch in ended]
        if any(epoch.left < LINGER for epoch in self._epochs.values()):
            return []
        reached, self._lingering = self._lingering, []
        return reached

    def _micro_step(self, memory: Callable[[], MemoryReading | None]) -> list[Epoch]:
        """Do one micro-step and return the epochs that ended in it; `memory` reads the device's.

        When memory runs out, the optimizer steps in flight begin again, with fewer rows or slots at
        a time from then on; what does not even fit alone ends with that error.
        """
        # Where not all fit, those that are furthest behind.
        behind = sorted(self._epochs.values(), key=lambda epoch: -epoch.left)
        chosen = {epoch.slot.name for epoch in behind[: self.limits.trials]}
        names = self._slots.in_rows(chosen)
        epochs = [self._epochs[name] for name in names]
        wanted = max(epoch.slot.recipe.train.batch_size for epoch in epochs)
        most = self.limits.rows_of(names, wanted)
        size = micro_batch([epoch.remaining for epoch in epochs], most)
        training, taken, ended = [], [], []
        for epoch in epochs:
            try:
                taken.append(epoch.take(size))
                training.append(epoch)
            except Exception as error:  # its own: the others continue
                ended.append(self._failed(epoch, error))
        if not training:
            return ended
        try:
            losses = self._losses(training, taken, size)
            self._slots.step(training)
        except Exception as error:
            if not errors.is_out_of_memory(error):
                raise
            failure = errors.emptied(error)  # its frames hold what did not fit
        else:
            self.limits.fitted()
            self._memory.trained([epoch.slot.name for epoch in training], size, memory())
            return ended + self._stepped(training, losses)
        ended += self._read_losses()
        training = [epoch for epoch in training if epoch not in ended]
        for epoch in training:
            epoch.rewind()
        if not self.limits.retreat(len(training), size):
            ended += [self._failed(epoch, failure) for epoch in training]
        return ended

    def _losses(
        self, epochs: Sequence[Epoch], taken: Sequence[SlotExamples], size: int
    ) -> torch.Tensor:
        """Return each slot's share (slots,) of its loss; the gradients are added to its own."""
        batch = training_batch(self._base, taken, size)
        recipes = [epoch.slot.recipe for epoch in epochs]
        smoothing = torch.tensor([recipe.train.label_smoothing for recipe in recipes])
        # A slot's loss is the mean over the learned tokens of its whole optimizer step.
        shares = [1.0 / own.tokens for own in taken]
        tokens = SlotTokens.of(
            self._base, batch["labels"], shares, smoothing.repeat_interleave(size)
        )
        keys = to_device(dropout_keys(taken, size), self._base.device)
        recomputed = any(recipe.train.activation_checkpointing for recipe in recipes)
        carried = self._slots.training([epoch.slot for epoch in epochs])
        with self._model.carrying(carried, keys) as model, checkpointing(self._base, recomputed):
            if not model.training:
                model.train()
            losses = self._model.losses(batch, tokens)
            scales = carried.loss_scales
            scaled = losses * scales.scale if scales else losses
            scaled.sum().backward()  # type: ignore[no-untyped-call]
        return losses.detach()

    def _stepped(self, epochs: Sequence[Epoch], losses: torch.Tensor) -> list[Epoch]:
        """Count a micro-step with these losses (slots,); return the epochs that ended in it."""
        self._micro_steps += 1
        self._unread.append(([(epoch, epoch.step) for epoch in epochs], losses))
        ended = []
        for epoch in epochs:
            try:
                if not epoch.remaining:
                    epoch.stepped()
            except Exception as error:  # its own: the others continue
                ended.append(self._failed(epoch, error))
        over = [epoch for epoch in epochs if not epoch.remaining]
        if over or self._micro_steps % self._check_every == 0:
            ended += self._read_losses()
        for epoch in over:
            if epoch in ended:
                continue
            if epoch.overflowed:
                ended.append(self._failed(epoch, loop.overflow(epoch.slot.rung)))
                continue
            epoch.finish()
            del self._epochs[epoch.slot.name]
            ended.append(epoch)
        return ended

    def _read_losses(self) -> list[Epoch]:
        """Give the epochs their losses since the last time, which waits for the device.

        Returns those with one that is not finite.
        """
        unread, self._unread = self._unread, []
        values = torch.cat([losses for _, losses in unread]).tolist() if unread else []
        parts = [part for parts, _ in unread for part in parts]
        failed = []
        for (epoch, step), loss in zip(parts, values, strict=True):
            if self._epochs.get(epoch.slot.name) is not epoch:  # it was dropped meanwhile
                continue
            try:
                epoch.add(step, loss)
            except loop.NonFiniteLossError as error:  # its own: the others continue
                failed.append(self._failed(epoch, error))
        return failed

    def _failed(self, epoch: Epoch, error: Exception) -> Epoch:
        self.drop(epoch.slot.name)
        epoch.loss, epoch.error = getattr(error, "loss", math.nan), error
        return epoch

    def predict(self, names: Sequence[str], evaluator: Evaluator, beams: int) -> list[Written]:
        """Write captions with these slots' adapters in one `generate`, each image once for each."""
        seconds: list[list[float]] = []
        several = self._write(names, self._slots.copied(names), evaluator, beams, seconds)
        reading = read_memory(self._base.device)
        self._memory.wrote(names, beams, max(map(len, seconds)), reading)
        return [Written(predictions=each, seconds=seconds) for each in several]

    def losses(self, names: Sequence[str], evaluator: Evaluator) -> list[float]:
        """Return the validation loss of each of these slots."""
        sums, count = torch.zeros(len(names), device=self._base.device), 0
        with self._model.carrying(self._slots.copied(names)) as model, torch.inference_mode():
            model.eval()
            for batch in evaluator.batches(copies=len(names)):
                labels = batch["labels"]
                plain = torch.zeros(len(labels))
                tokens = SlotTokens.of(self._base, labels, [1.0] * len(names), plain)
                sums += self._model.losses(batch, tokens)
                count += collation.predicted_tokens(self._base, labels) // len(names)
        losses: list[float] = (sums / count).tolist()
        return losses

    def predict_saved(
        self, folders: Mapping[str, Path], evaluator: Evaluator, beams: int
    ) -> list[tuple[Prediction, ...]]:
        """Write captions with saved adapters together; the slots' own weights stay."""
        layers = {name: self._slots[name].fresh.layers for name in folders}
        saved = {name: saved_matrices(folders[name], own) for name, own in layers.items()}
        carried = self._slots.copied(list(folders), saved)
        return self._write(list(folders), carried, evaluator, beams)

    def _write(
        self,
        names: Sequence[str],
        carried: CarriedSlots,
        evaluator: Evaluator,
        beams: int,
        seconds: list[list[float]] | None = None,
    ) -> list[tuple[Prediction, ...]]:
        """Write captions with what is carried for these slots; appends the time of each batch."""
        at_once = self._memory.captions(names, beams, len(evaluator.samples))
        with self._model.carrying(carried) as model:
            return evaluator.predict(model, beams, seconds, len(names), at_once)
