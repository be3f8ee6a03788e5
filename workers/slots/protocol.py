"""The protocol of trainers: in turns (`workers.slots.sequential`) or packed (`workers.packing`).

To a host both are alike.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import torch

from workers.evaluation.evaluator import Evaluator
from workers.measures import Meter
from workers.recipe import Recipe
from workers.report import Prediction
from workers.training.loop import Examples


class TrialSlot(Protocol):
    """The state of a slot, however it is trained."""

    name: str
    recipe: Recipe
    rung: int
    """Epochs done."""
    unhealthy_rungs: int
    """Rungs with symptoms in a row, up to the last one."""

    def weights(self) -> Sequence[torch.Tensor]:
        """Return the trained weights, of their true shapes."""

    def export(self, folder: Path) -> None:
        """Write the adapter as plain peft loads it."""

    def snapshot(self, folder: Path) -> None:
        """Write all that `restore` needs; complete only when this returns."""

    def restore(self, folder: Path) -> None:
        """Take the state that a slot of either kind wrote, on a new slot.

        Raises FileNotFoundError for an incomplete snapshot.
        """

    def load_adapter(self, folder: Path, rung: int) -> None:
        """Begin with the adapter in `folder`, which was trained for `rung` epochs."""


@dataclass(frozen=True, kw_only=True)
class TrainedEpoch:
    """A slot that has done its epoch, or could not."""

    slot: TrialSlot
    loss: float
    """The mean over the epoch's steps."""
    seconds: float
    """Time of the slot's own steps: of steps that slots take together, its share."""
    steps: int
    """Optimizer steps that were taken."""
    truncated: int
    """Captions that were cut at the model's last position."""
    image_waits: Mapping[str, float] = field(default_factory=dict)
    """How often its steps waited for images, see `workers.features.images.ImageWaits.counts`."""
    meter: Meter
    """Continues to measure the rung."""
    error: Exception | None = None
    """Why the slot cannot continue; its state lies somewhere between two rungs."""


@dataclass(frozen=True, kw_only=True)
class Written:
    """The captions of one slot's adapter."""

    predictions: tuple[Prediction, ...]
    seconds: Sequence[Sequence[float]]
    """Of each batch, each image's share of its time."""


class Trainer(Protocol):
    """The slots of one base, by name."""

    @property
    def busy(self) -> bool:
        """Whether any slot trains."""

    @property
    def occupied(self) -> bool:
        """Whether there is any slot."""

    def admit(self, name: str, recipe: Recipe) -> TrialSlot:
        """Open a slot for a new trial; the seed decides its weights."""

    def evict(self, name: str) -> None:
        """Close a slot, also in the middle of an epoch; nothing of it stays."""

    def begin(self, name: str, examples: Examples) -> None:
        """Begin the next epoch of a slot."""

    def drop(self, name: str) -> int:
        """Forget what is left of a slot's epoch, and return the optimizer steps that it has taken.

        Does nothing for one that is not being trained.
        """

    def step(self) -> list[TrainedEpoch]:
        """Take one step of those that train; return the slots whose epoch has ended."""

    def predict(self, names: Sequence[str], evaluator: Evaluator, beams: int) -> list[Written]:
        """Write captions with these slots' adapters."""

    def losses(self, names: Sequence[str], evaluator: Evaluator) -> list[float]:
        """Return the validation loss of each of these slots."""

    def predict_saved(
        self, folders: Mapping[str, Path], evaluator: Evaluator, beams: int
    ) -> list[tuple[Prediction, ...]]:
        """Write captions with the adapters saved in `folders`, by slot, not the slots' own."""
