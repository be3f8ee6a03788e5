"""Slots of one base that train and write captions together."""

from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path

import torch

from workers.encoding import collation
from workers.evaluation.evaluator import Evaluator
from workers.families.base import Base
from workers.memory.device import DeviceMemory
from workers.models.adapters import read_weights
from workers.packing import peft_weights, snapshots
from workers.packing.layout import Matrices
from workers.packing.model import Bare
from workers.packing.pack import EpochEnd, Pack
from workers.packing.slot import PackedSlot
from workers.recipe import Recipe
from workers.report import Prediction
from workers.slots.meter import Meter, shared
from workers.slots.protocol import TrainedEpoch, Written
from workers.training.loop import Examples

LINGER = 0.1
"""Share of an epoch for which a slot that has done its own waits for others that are as good as
done, so that their captions are written together. In lockstep they arrive together anyway."""


class Together:
    """A pack and what it has in flight.

    Args:
        base: what the slots have in common.
        bare: context in which adapters that others have put on it do nothing.
        device_memory: says what fits; None where nothing is known of it.
    """

    def __init__(
        self, base: Base, bare: Bare = nullcontext, device_memory: DeviceMemory | None = None
    ) -> None:
        self._memory = device_memory or DeviceMemory()
        self.pack = Pack(base, bare, device_memory=self._memory)
        self._slots: dict[str, PackedSlot] = {}
        self._meters: dict[str, Meter] = {}
        self._examples: dict[str, Examples] = {}
        """What the slots in flight train with."""
        self._lingering: list[TrainedEpoch] = []
        """Slots that have done their epoch and wait, see `LINGER`."""

    @property
    def busy(self) -> bool:
        """Whether any slot trains."""
        return self.pack.busy or bool(self._lingering)

    @property
    def occupied(self) -> bool:
        """Whether there is any slot."""
        return bool(self._slots)

    def admit(self, name: str, recipe: Recipe) -> PackedSlot:
        """Open a slot for a new trial; the seed decides its weights."""
        self._slots[name] = self.pack.admit(name, recipe)
        return self._slots[name]

    def restore(self, name: str, recipe: Recipe, folder: Path) -> PackedSlot:
        """Open a slot that goes on from a snapshot, in whatever pack it is now."""
        snapshots.read(self.admit(name, recipe), folder)
        return self._slots[name]

    def graft(self, name: str, recipe: Recipe, folder: Path, rung: int) -> PackedSlot:
        """Open a slot that begins with an adapter which was trained for `rung` epochs."""
        snapshots.graft(self.admit(name, recipe), folder, rung)
        return self._slots[name]

    def evict(self, name: str) -> None:
        """Close a slot, in whatever it is doing; the others do not notice."""
        self.drop(name)
        del self._slots[name]
        self.pack.evict(name)

    def snapshot(self, name: str, folder: Path) -> None:
        """Write all that `restore` needs; complete only when this returns."""
        snapshots.write(self._slots[name], folder)

    def export(self, name: str, folder: Path) -> None:
        """Write the slot's adapter as plain peft loads it."""
        snapshots.export(self._slots[name], folder)

    def begin(self, name: str, examples: Examples) -> None:
        """Let a slot be trained for its next epoch, from the next step of the pack on."""
        self.pack.begin(name, examples)
        self._meters[name] = Meter(self.pack.base.device)
        self._examples[name] = examples

    def drop(self, name: str) -> None:
        """Forget what is left of a slot's epoch; nothing for one that is not being trained."""
        self.pack.drop(name)
        self._lingering = [trained for trained in self._lingering if trained.slot.name != name]

    def step(self) -> list[TrainedEpoch]:
        """Take one step of all that train; return who has done its epoch, or failed."""
        if self.pack.busy:
            training = self.pack.training
            with shared([self._meters[name] for name in training]):
                done = self.pack.step()
            self._lingering += [self._trained(end) for end in done]
        if self.pack.left < LINGER:
            return []
        reached, self._lingering = self._lingering, []
        return reached

    def predict(self, names: Sequence[str], evaluator: Evaluator, beams: int) -> list[Written]:
        """Let these slots write captions in one `generate`, each image once for each.

        As all that evaluates slots, in turns where their rows would change each other's outputs.
        """
        return [
            written
            for some in self._sharing(names)
            for written in self._predict(some, evaluator, beams)
        ]

    def losses(self, names: Sequence[str], evaluator: Evaluator) -> list[float]:
        """Return the validation loss of each of these slots."""
        return [loss for some in self._sharing(names) for loss in self._losses(some, evaluator)]

    def predict_saved(
        self, folders: Mapping[str, Path], evaluator: Evaluator, beams: int
    ) -> list[tuple[Prediction, ...]]:
        """Let saved adapters write captions together; the slots' own weights stay."""
        written: list[tuple[Prediction, ...]] = []
        for some in self._sharing(list(folders)):
            saved = [self._saved(name, folders[name]) for name in some]
            with self.pack.adapted(some, saved) as model:
                written += evaluator.predict(model, beams, copies=len(saved))
        return written

    def _sharing(self, names: Sequence[str]) -> list[Sequence[str]]:
        """Return which of these slots are evaluated in one batch."""
        return [[name] for name in names] if self.pack.base.scores_in_turns else [names]

    def _predict(self, names: Sequence[str], evaluator: Evaluator, beams: int) -> list[Written]:
        seconds: list[float] = []
        with self.pack.adapted(names) as model:
            several = evaluator.predict(model, beams, seconds, copies=len(names))
        self._memory.wrote(names, beams, len(evaluator.samples))
        return [Written(predictions=predictions, seconds=seconds) for predictions in several]

    def _losses(self, names: Sequence[str], evaluator: Evaluator) -> list[float]:
        base, sums, tokens = self.pack.base, torch.zeros(len(names)), 0
        with self.pack.adapted(names) as model, torch.inference_mode():
            model.eval()
            for batch in evaluator.batches(copies=len(names)):
                plain = torch.zeros(batch["labels"].shape[0])
                sums += self.pack.model.losses(batch, plain).cpu()
                tokens += collation.predicted_tokens(base, batch["labels"]) // len(names)
        return [float(own) for own in sums / tokens]

    def _saved(self, name: str, folder: Path) -> Matrices:
        return peft_weights.from_state(read_weights(folder), self._slots[name].fresh.layers)

    def _trained(self, end: EpochEnd) -> TrainedEpoch:
        name = end.slot.name
        return TrainedEpoch(
            slot=end.slot,
            loss=end.loss,
            seconds=self._meters[name].seconds,
            truncated=self._examples[name].truncated,
            meter=self._meters[name],
            error=end.error,
        )
