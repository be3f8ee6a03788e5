"""A pack: the slots of one base, trained and evaluated together.

One micro-step is one forward and backward pass over some rows of every slot that trains. The base
does its part for all rows at once; each adapted layer adds the slots' low-rank terms
(`workers.packing.linear`). The loss is a sum over the slots, whose weights have nothing in common:
the gradient of each is what it would be alone. Slots join and leave between two micro-steps, and
step their optimizers when they have seen their own batch, each in its own time.
"""

import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import nullcontext
from itertools import groupby
from pathlib import Path

import torch

from workers.encoding import collation
from workers.evaluation.evaluator import Evaluator
from workers.families.base import Base
from workers.measures import shared
from workers.memory import errors
from workers.memory.device import DeviceMemory
from workers.packing.arena import Arena, Matrices, PackLayout, rank_class
from workers.packing.epoch import Epoch, SlotExamples
from workers.packing.model import (
    Bare,
    BatchSegment,
    PackedModel,
    dropout_masks,
    micro_batch,
    training_batch,
)
from workers.packing.slot import PackedSlot, fresh_adapter, saved_matrices
from workers.recipe import Recipe
from workers.report import Prediction
from workers.slots.protocol import TrainedEpoch, Written
from workers.training.loop import Examples, checkpointing

LINGER = 0.1
"""Share of an epoch for which a slot that has done its own waits for others that are nearly done,
so that their captions are written together. In lockstep they arrive together anyway."""


class Slots:
    """All slots on one base by name, training or not, and the arenas that hold their weights.

    Slots of one layout, which is a rank class and a set of adapted layers, share an arena. The rows
    of a batch are ordered by arenas and, within one, by its rows: so each arena's slots are one
    segment.
    """

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
        adapter = fresh_adapter(recipe.adapter, self._base, recipe.train.seed)
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
            runs = _runs(slots)
            self._segments = [BatchSegment(arena.leaves(own), scale) for arena, own, scale in runs]
            self._trained_names = names
        return self._segments

    def copied_segments(
        self, names: Sequence[str], weights: Mapping[str, Matrices] | None = None
    ) -> list[BatchSegment]:
        """Return copies of these slots' weights, or of `weights` by their names in their stead."""
        copies = []
        for arena, own, scale in _runs([self._slots[name] for name in names]):
            rows = arena.copies(own)
            if weights:
                for name, row in zip(own, rows, strict=True):
                    arena.layout.packed(weights[name], row)
            copies.append(BatchSegment(arena.layout.matrices(rows), scale))
        return copies


def _runs(slots: Sequence[PackedSlot]) -> Iterator[tuple[Arena, tuple[str, ...], torch.Tensor]]:
    """Yield the slots, in their order, in runs of neighbours that share an arena.

    These are the arena, the names, and the factors of B A (slots, 1, 1).
    """
    for _, run in groupby(slots, key=lambda slot: id(slot.arena)):
        own = list(run)
        scales = torch.tensor([slot.fresh.scale for slot in own], device=own[0].parameter.device)
        yield own[0].arena, tuple(slot.name for slot in own), scales[:, None, None]


class Pack:
    """The `Trainer` of slots that share a forward: some train, the others wait or are evaluated.

    Args:
        base: what the slots have in common.
        bare: context in which adapters that others have put on it do nothing.
        device_memory: estimates what fits; None without an estimate.
    """

    def __init__(
        self, base: Base, bare: Bare = nullcontext, device_memory: DeviceMemory | None = None
    ) -> None:
        self._base = base
        self._memory = device_memory or DeviceMemory()
        self._model = PackedModel(base, bare)
        self._slots = Slots(base)
        self._epochs: dict[str, Epoch] = {}
        """The slots that train."""
        self._lingering: list[TrainedEpoch] = []
        """Slots that have done their epoch and wait, see `LINGER`."""
        self.max_rows: int | None = None
        """Most rows of a slot in one pass since memory ran out; None where it did not."""
        self.max_slots: int | None = None
        """The same for slots in one pass."""
        self._micro_steps = 0
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
        self.max_rows = self.max_slots = None  # the one that left may have been what did not fit

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
            with shared([epoch.meter for epoch in self._epochs.values()]):
                ended = self._micro_step()
            self._lingering += [epoch.trained() for epoch in ended]
        if any(epoch.left < LINGER for epoch in self._epochs.values()):
            return []
        reached, self._lingering = self._lingering, []
        return reached

    def _micro_step(self) -> list[Epoch]:
        """Do one micro-step and return the epochs that ended in it.

        When memory runs out, the optimizer steps in flight begin again, with fewer rows or slots at
        a time from then on; what does not even fit alone ends with that error.
        """
        # Where not all fit, those that are furthest behind.
        behind = sorted(self._epochs.values(), key=lambda epoch: -epoch.left)
        chosen = {epoch.slot.name for epoch in behind[: self.max_slots]}
        names = self._slots.in_rows(chosen)
        epochs = [self._epochs[name] for name in names]
        wanted = max(epoch.slot.recipe.train.batch_size for epoch in epochs)
        most = self.max_rows or self._memory.rows(names, wanted)
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
        except Exception as error:
            if not errors.is_out_of_memory(error):
                raise
            failure = error.with_traceback(None)  # its frames hold what did not fit
        else:
            self._micro_steps += 1
            pairs = zip(training, losses, strict=True)
            ended += [epoch for epoch, loss in pairs if self._is_over(epoch, loss)]
            self._memory.trained([epoch.slot.name for epoch in training], size)
            return ended
        for epoch in training:
            epoch.rewind()
        smaller = self._memory.retreat(len(training), size)
        if smaller is None:
            return ended + [self._failed(epoch, failure) for epoch in training]
        self.max_slots, self.max_rows = smaller
        return ended

    def _losses(
        self, epochs: Sequence[Epoch], taken: Sequence[SlotExamples], size: int
    ) -> torch.Tensor:
        """Return each slot's share (slots,) of its loss; the gradients are added to its own."""
        batch = training_batch(self._base, taken, size)
        recipes = [epoch.slot.recipe for epoch in epochs]
        smoothing = torch.tensor([recipe.train.label_smoothing for recipe in recipes])
        # A slot's loss is the mean over the learned tokens of its whole optimizer step.
        shares = torch.tensor([1.0 / own.tokens for own in taken], device=self._base.device)
        recomputed = any(recipe.train.activation_checkpointing for recipe in recipes)
        segments = self._slots.training_segments([epoch.slot for epoch in epochs])
        masks = dropout_masks(self._base, recipes, taken, segments, size)
        with self._model.carrying(segments, masks) as model, checkpointing(self._base, recomputed):
            if not model.training:
                model.train()
            losses = self._model.losses(batch, smoothing.repeat_interleave(size)) * shares
            losses.sum().backward()  # type: ignore[no-untyped-call]
        return losses.detach()

    def _is_over(self, epoch: Epoch, loss: torch.Tensor) -> bool:
        """Add a slot's loss; return whether its epoch has ended, by an error or at its end."""
        try:
            epoch.add(loss)
            if not epoch.remaining:
                epoch.finish()
            elif self._micro_steps % self._check_every == 0:
                epoch.check()
        except Exception as error:  # its own: the others continue
            self._failed(epoch, error)
            return True
        if epoch.remaining:
            return False
        del self._epochs[epoch.slot.name]
        return True

    def _failed(self, epoch: Epoch, error: Exception) -> Epoch:
        self.drop(epoch.slot.name)
        epoch.loss, epoch.error = getattr(error, "loss", math.nan), error
        return epoch

    def predict(self, names: Sequence[str], evaluator: Evaluator, beams: int) -> list[Written]:
        """Write captions with these slots' adapters in one `generate`, each image once for each.

        As in all evaluation, in turns where their rows would change each other's outputs.
        """
        written: list[Written] = []
        for some in self._sharing(names):
            seconds: list[float] = []
            with self._model.carrying(self._slots.copied_segments(some)) as model:
                several = evaluator.predict(model, beams, seconds, copies=len(some))
            self._memory.wrote(some, beams, len(evaluator.samples))
            written += [Written(predictions=each, seconds=seconds) for each in several]
        return written

    def losses(self, names: Sequence[str], evaluator: Evaluator) -> list[float]:
        """Return the validation loss of each of these slots."""
        losses: list[float] = []
        for some in self._sharing(names):
            sums, tokens = torch.zeros(len(some)), 0
            segments = self._slots.copied_segments(some)
            with self._model.carrying(segments) as model, torch.inference_mode():
                model.eval()
                for batch in evaluator.batches(copies=len(some)):
                    plain = torch.zeros(batch["labels"].shape[0])
                    sums += self._model.losses(batch, plain).cpu()
                    predicted = collation.predicted_tokens(self._base, batch["labels"])
                    tokens += predicted // len(some)
            losses += [float(own) for own in sums / tokens]
        return losses

    def predict_saved(
        self, folders: Mapping[str, Path], evaluator: Evaluator, beams: int
    ) -> list[tuple[Prediction, ...]]:
        """Write captions with saved adapters together; the slots' own weights stay."""
        written: list[tuple[Prediction, ...]] = []
        for some in self._sharing(list(folders)):
            layers = {name: self._slots[name].fresh.layers for name in some}
            saved = {name: saved_matrices(folders[name], own) for name, own in layers.items()}
            with self._model.carrying(self._slots.copied_segments(some, saved)) as model:
                written += evaluator.predict(model, beams, copies=len(saved))
        return written

    def _sharing(self, names: Sequence[str]) -> list[Sequence[str]]:
        """Return which of these slots are evaluated in one batch."""
        return [[name] for name in names] if self._base.scores_in_turns else [names]
