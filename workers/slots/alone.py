"""Slots that train one after the other, an optimizer step at a time: each as if it were alone.

When memory runs out in a step, it is taken again with fewer rows in a forward, at the same
effective batch.
"""

from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from workers.evaluation.evaluator import Evaluator
from workers.families.base import Base
from workers.memory import errors
from workers.memory.device import DeviceMemory
from workers.models.adapters import AdaptedBase, read_weights
from workers.recipe import Recipe
from workers.report import Prediction
from workers.slots.meter import Meter
from workers.slots.protocol import TrainedEpoch, Written
from workers.slots.slot import Slot
from workers.training.loop import Examples, OptimizerError, steps_per_epoch


@dataclass(kw_only=True)
class _OpenEpoch:
    """A slot in the middle of an epoch."""

    slot: Slot
    examples: Examples
    meter: Meter
    rows: int
    """Most in one forward."""
    losses: list[float] = field(default_factory=list)
    """Of the steps taken."""
    steps: Iterator[float] = field(init=False)

    def __post_init__(self) -> None:
        self.go_on()

    def go_on(self) -> None:
        """Begin with the first step that is not taken yet."""
        self.steps = self.slot.epoch(self.examples, len(self.losses), self.rows)

    @property
    def over(self) -> bool:
        """Whether all steps are taken."""
        pairs, train = len(self.examples.pairs), self.slot.recipe.train
        return len(self.losses) == steps_per_epoch(pairs, train)


class Alone:
    """Slots of one base with peft's own layers, in the order of their turns.

    Args:
        base: what the slots have in common.
        device_memory: says what fits; None where nothing is known of it.
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
        self._slots[name] = Slot.new(name, recipe, self.adapted)
        return self._slots[name]

    def restore(self, name: str, recipe: Recipe, folder: Path) -> Slot:
        """Open a slot that goes on from a snapshot, bit-identically on a CPU."""
        self._slots[name] = Slot.restored(name, recipe, self.adapted, folder)
        return self._slots[name]

    def graft(self, name: str, recipe: Recipe, folder: Path, rung: int) -> Slot:
        """Open a slot that begins with an adapter which was trained for `rung` epochs."""
        self._slots[name] = Slot.grafted(name, recipe, self.adapted, folder, rung)
        return self._slots[name]

    def evict(self, name: str) -> None:
        """Close a slot, in whatever it is doing; nothing of it stays."""
        self.drop(name)
        self._rows.pop(name, None)
        del self._slots[name]
        self.adapted.detach(name)

    def snapshot(self, name: str, folder: Path) -> None:
        """Write all that `restore` needs; complete only when this returns."""
        self._slots[name].snapshot(folder)

    def export(self, name: str, folder: Path) -> None:
        """Write the slot's adapter as plain peft loads it."""
        self.adapted.save(name, folder, self._slots[name].recipe.model.base)

    def begin(self, name: str, examples: Examples) -> None:
        """Let a slot be trained for its next epoch."""
        slot = self._slots[name]
        planned = self._memory.rows([name], slot.recipe.train.batch_size)
        rows, meter = self._rows.get(name, planned), Meter(self.adapted.base.device)
        self._turns.append(_OpenEpoch(slot=slot, examples=examples, meter=meter, rows=rows))

    def drop(self, name: str) -> None:
        """Forget what is left of a slot's epoch; nothing for one that is not being trained."""
        self._turns = deque(turn for turn in self._turns if turn.slot.name != name)

    def step(self) -> list[TrainedEpoch]:
        """Take one optimizer step of the slot whose turn it is, or make its next try smaller."""
        turn = self._turns.popleft()
        try:
            with turn.meter.running(), turn.slot.turn():
                turn.losses.append(next(turn.steps))
        except Exception as error:
            if isinstance(error, OptimizerError) or not errors.is_out_of_memory(error):
                return [_trained(turn, error)]
            failure = error.with_traceback(None)  # its frames hold what did not fit
        else:
            self._memory.trained([turn.slot.name], turn.rows)
            return self._went_on(turn)
        return [] if self._retreat(turn) else [_trained(turn, failure)]

    def _went_on(self, turn: _OpenEpoch) -> list[TrainedEpoch]:
        if not turn.over:
            self._turns.append(turn)
            return []
        turn.slot.rung += 1
        return [_trained(turn)]

    def _retreat(self, turn: _OpenEpoch) -> bool:
        """Let the step be taken again in smaller forwards; False if nothing is left to try."""
        turn.slot.optimizer.zero_grad(set_to_none=True)
        smaller = self._memory.retreat([turn.slot.name], turn.rows)
        if smaller is None:
            return False
        turn.rows = self._rows[turn.slot.name] = smaller.micro_batch
        turn.go_on()
        self._turns.appendleft(turn)
        return True

    def predict(self, names: Sequence[str], evaluator: Evaluator, beams: int) -> list[Written]:
        """Let these slots write captions, one slot after the other."""
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
        """Let saved adapters write captions; the slots' own weights are put back afterwards."""
        written = []
        for name, folder in folders.items():
            model, own = self._slots[name].activate(), self.adapted.weights(name)
            self.adapted.load_weights(name, read_weights(folder))
            try:
                written += evaluator.predict(model, beams)
            finally:
                self.adapted.load_weights(name, own)
        return written


def _trained(turn: _OpenEpoch, error: Exception | None = None) -> TrainedEpoch:
    return TrainedEpoch(
        slot=turn.slot,
        loss=sum(turn.losses) / max(1, len(turn.losses)),
        seconds=turn.meter.seconds,
        truncated=turn.examples.truncated,
        meter=turn.meter,
        error=error,
    )
