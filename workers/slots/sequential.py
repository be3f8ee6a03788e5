"""Slots that train one after the other, an optimizer step at a time: each as if it were alone.

When memory runs out in a step, it is taken again with fewer rows in a forward, at the same
effective batch.
"""

from collections import deque
from collections.abc import Mapping, Sequence
from pathlib import Path

from workers.evaluation.evaluator import Evaluator
from workers.families.base import Base
from workers.measures import Meter, shared
from workers.memory import errors
from workers.memory.device import DeviceMemory
from workers.models.adapters import AdaptedBase, read_weights
from workers.recipe import Recipe
from workers.report import Prediction
from workers.slots.protocol import TrainedEpoch, Written
from workers.slots.slot import Slot
from workers.training.loop import Examples, OptimizerError, steps_per_epoch, train_epoch


class _OpenEpoch:
    """A slot in the middle of an epoch, with at most so many rows in one forward."""

    def __init__(self, slot: Slot, examples: Examples, rows: int) -> None:
        self.slot, self.examples, self.rows = slot, examples, rows
        self.meter = Meter(slot.adapted.base.device)
        self.losses: list[float] = []
        """The losses of the steps taken."""
        self.resume()

    def resume(self) -> None:
        """Begin with the first step that is not taken yet; each needs a `turn` of the slot."""
        slot, adapted, first = self.slot, self.slot.adapted, len(self.losses)
        base, model, train = adapted.base, adapted.model, slot.recipe.train
        self.steps = train_epoch(
            base, model, slot.optimizer, self.examples, train, slot.rung, first, self.rows
        )

    def trained(self, error: Exception | None = None) -> TrainedEpoch:
        """Return the slot with the outcome of its epoch."""
        return TrainedEpoch(
            slot=self.slot,
            loss=sum(self.losses) / max(1, len(self.losses)),
            seconds=self.meter.seconds,
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
        self._rows: dict[str, int] = {}
        """Rows in a forward of slots that ran out of memory."""
        self._slots: dict[str, Slot] = {}
        self._turns: deque[_OpenEpoch] = deque()

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
        return self._slots[name]

    def evict(self, name: str) -> None:
        """Close a slot, also in the middle of an epoch; nothing of it stays."""
        self.drop(name)
        self._rows.pop(name, None)
        del self._slots[name]
        self.adapted.detach(name)

    def begin(self, name: str, examples: Examples) -> None:
        """Begin the next epoch of a slot."""
        slot = self._slots[name]
        planned = self._memory.rows([name], slot.recipe.train.batch_size)
        self._turns.append(_OpenEpoch(slot, examples, self._rows.get(name, planned)))

    def drop(self, name: str) -> None:
        """Forget what is left of a slot's epoch; nothing for one that is not being trained."""
        self._turns = deque(turn for turn in self._turns if turn.slot.name != name)

    def step(self) -> list[TrainedEpoch]:
        """Take one optimizer step of the slot whose turn it is, or make its next try smaller."""
        turn = self._turns.popleft()
        slot = turn.slot
        try:
            with shared([turn.meter]), slot.turn():
                turn.losses.append(next(turn.steps))
        except Exception as error:
            if isinstance(error, OptimizerError) or not errors.is_out_of_memory(error):
                return [turn.trained(error)]
            failure = error.with_traceback(None)  # its frames hold what did not fit
        else:
            self._memory.trained([slot.name], turn.rows)
            steps = steps_per_epoch(len(turn.examples.pairs), slot.recipe.train)
            if len(turn.losses) < steps:
                self._turns.append(turn)
                return []
            slot.rung += 1
            return [turn.trained()]
        slot.optimizer.zero_grad(set_to_none=True)
        smaller = self._memory.retreat(1, turn.rows)
        if smaller is None:
            return [turn.trained(failure)]
        turn.rows = self._rows[slot.name] = smaller[1]
        turn.resume()
        self._turns.appendleft(turn)
        return []

    def predict(self, names: Sequence[str], evaluator: Evaluator, beams: int) -> list[Written]:
        """Write captions with these slots' adapters, one after the other."""
        written = []
        for name in names:
            seconds: list[float] = []
            (predictions,) = evaluator.predict(self._slots[name].activate(), beams, seconds)
            self._memory.wrote([name], beams, len(evaluator.samples))
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
                written += evaluator.predict(model, beams)
            finally:
                self.adapted.load_weights(name, own)
        return written
