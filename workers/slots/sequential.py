"""Slots that train beside each other with peft's own layers: each as if it were alone.

In each turn every slot takes an optimizer step, so beside a pack they keep its pace, however many
they are. On a GPU the host waits for none of these steps; they follow one another on one stream,
for the slots share the layers in which peft switches adapters.

When memory runs out in a step, it is taken again with fewer rows in a forward, at the same
effective batch.
"""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch

from workers.evaluation.evaluator import Evaluator
from workers.families.base import Base
from workers.measures import Meter, read_memory, shared
from workers.memory import errors
from workers.memory.device import DeviceMemory
from workers.memory.limits import Limits
from workers.models.adapters import AdaptedBase, read_weights
from workers.recipe import Recipe
from workers.report import Prediction
from workers.slots.protocol import TrainedEpoch, Written
from workers.slots.slot import Slot
from workers.training.loop import (
    Examples,
    NonFiniteLossError,
    not_finite,
    overflow,
    steps_between_reads,
    steps_per_epoch,
    train_epoch,
)
from workers.training.optimizer import OptimizerError


class _OpenEpoch:
    """A slot in the middle of an epoch, with at most so many rows in one forward."""

    def __init__(self, slot: Slot, examples: Examples, rows: int) -> None:
        self.slot, self.examples, self.rows = slot, examples, rows
        self.meter = Meter(slot.adapted.base.device)
        self._losses: list[float] = []
        """The losses of the steps taken, as far as they were read."""
        self.unread: list[torch.Tensor] = []
        """Those of the last steps, on the device."""
        self._per_epoch = steps_per_epoch(len(examples.pairs), slot.recipe.train)
        self.resume()

    @property
    def taken(self) -> int:
        """Steps taken."""
        return len(self._losses) + len(self.unread)

    @property
    def over(self) -> bool:
        """Whether all steps are taken."""
        return self.taken == self._per_epoch

    def resume(self) -> None:
        """Begin with the first step that is not taken yet; each needs a `turn` of the slot."""
        slot, adapted = self.slot, self.slot.adapted
        base, model, train = adapted.base, adapted.model, slot.recipe.train
        self.steps = train_epoch(
            base, model, slot.optimizer, self.examples, train, slot.rung, self.taken, self.rows
        )

    def read(self) -> None:
        """Read the losses that are not read yet, which waits for the device.

        Raises `NonFiniteLossError` for the first one that is not finite, and at the end of an epoch
        whose gradients overflow.
        """
        losses: list[float] = torch.stack(self.unread).tolist() if self.unread else []
        self.unread.clear()
        for loss in losses:
            if not math.isfinite(loss):
                slot = self.slot
                step = slot.rung * self._per_epoch + len(self._losses)
                raise not_finite(loss, step, slot.rung, slot.recipe.train)
            self._losses.append(loss)
        if self.over and self.slot.optimizer.overflows:
            raise overflow(self.slot.rung)

    def trained(self, error: Exception | None = None) -> TrainedEpoch:
        """Return the slot with the outcome of its epoch."""
        return TrainedEpoch(
            slot=self.slot,
            loss=sum(self._losses) / max(1, len(self._losses)),
            seconds=self.meter.seconds,
            steps=self.taken,
            truncated=self.examples.truncated,
            image_waits=self.examples.image_waits,
            meter=self.meter,
            error=error,
        )


class SequentialTrainer:
    """The `Trainer` of slots that take turns on one base, with peft's own layers.

    Args:
        base: what the slots have in common.
        device_memory: estimates what fits; None without an estimate.
    """

    def __init__(self, base: Base, device_memory: DeviceMemory | None = None) -> None:
        self.adapted = AdaptedBase(base)
        self._memory = device_memory or DeviceMemory()
        self._limits: dict[str, Limits] = {}
        self._slots: dict[str, Slot] = {}
        self._turns: list[_OpenEpoch] = []
        self._steps = 0
        """Calls of `step`."""
        self._read_every = steps_between_reads(base.device)

    @property
    def busy(self) -> bool:
        """Whether any slot trains."""
        return bool(self._turns)

    @property
    def occupied(self) -> bool:
        """Whether there is any slot."""
        return bool(self._slots)

    def admit(self, name: str, recipe: Recipe) -> Slot:
        """Open a slot for a new trial; the seed decides its weights."""
        self._slots[name] = Slot(name, recipe, self.adapted)
        self._limits[name] = Limits(self._memory)
        return self._slots[name]

    def evict(self, name: str) -> None:
        """Close a slot, also in the middle of an epoch; nothing of it stays."""
        self.drop(name)
        del self._slots[name], self._limits[name]
        self.adapted.detach(name)

    def begin(self, name: str, examples: Examples) -> None:
        """Begin the next epoch of a slot."""
        slot = self._slots[name]
        rows = self._limits[name].rows_of([name], slot.recipe.train.batch_size)
        self._turns.append(_OpenEpoch(slot, examples, rows))

    def drop(self, name: str) -> int:
        """Forget what is left of a slot's epoch; return the steps that it has taken."""
        steps = sum(turn.taken for turn in self._turns if turn.slot.name == name)
        self._turns = [turn for turn in self._turns if turn.slot.name != name]
        return steps

    def step(self) -> list[TrainedEpoch]:
        """Take one optimizer step of each slot that trains, or make its next try smaller."""
        turns = self._turns
        failed = {turn: error for turn in turns if (error := self._take_step(turn))}
        self._steps += 1
        due = self._steps % self._read_every == 0
        with shared([turn.meter for turn in turns]):  # the first read waits for all steps
            for turn in turns:
                if turn not in failed and (due or turn.over):
                    try:
                        turn.read()
                    except NonFiniteLossError as error:
                        failed[turn] = error
        ended = [turn for turn in turns if turn in failed or turn.over]
        self._turns = [turn for turn in turns if turn not in ended]
        for turn in ended:
            if turn not in failed:
                turn.slot.rung += 1
        return [turn.trained(failed.get(turn)) for turn in ended]

    def _take_step(self, turn: _OpenEpoch) -> Exception | None:
        """Take a slot's next step, or make its next try smaller; return why it cannot continue."""
        slot, limits = turn.slot, self._limits[turn.slot.name]
        try:
            with shared([turn.meter]) as memory, slot.turn():
                turn.unread.append(next(turn.steps))
        except Exception as error:
            if isinstance(error, OptimizerError) or not errors.is_out_of_memory(error):
                return error
            failure = errors.emptied(error)  # its frames hold what did not fit
        else:
            limits.fitted()
            self._memory.trained([slot.name], turn.rows, memory())
            return None
        slot.optimizer.forget_gradient()
        if not limits.retreat(1, turn.rows):
            return failure
        turn.rows = min(turn.rows, limits.rows or turn.rows)
        turn.resume()
        return None

    def predict(self, names: Sequence[str], evaluator: Evaluator, beams: int) -> list[Written]:
        """Write captions with these slots' adapters, one after the other."""
        written = []
        for name in names:
            seconds: list[list[float]] = []
            at_once = self._memory.captions([name], beams, len(evaluator.samples))
            model = self._slots[name].activate()
            (predictions,) = evaluator.predict(model, beams, seconds, at_once=at_once)
            reading = read_memory(self.adapted.base.device)
            self._memory.wrote([name], beams, max(map(len, seconds)), reading)
            written.append(Written(predictions=predictions, seconds=seconds))
        return written

    def losses(self, names: Sequence[str], evaluator: Evaluator) -> list[float]:
        """Return the validation loss of each of these slots."""
        return [evaluator.loss(self._slots[name].activate()) for name in names]

    def predict_saved(
        self, folders: Mapping[str, Path], evaluator: Evaluator, beams: int
    ) -> list[tuple[Prediction, ...]]:
        """Write captions with saved adapters; the slots' own weights are put back afterwards."""
        written = []
        for name, folder in folders.items():
            model, own = self._slots[name].activate(), self.adapted.weights(name)
            self.adapted.load_weights(name, read_weights(folder))
            try:
                at_once = self._memory.captions([name], beams, len(evaluator.samples))
                written += evaluator.predict(model, beams, at_once=at_once)
            finally:
                self.adapted.load_weights(name, own)
        return written
