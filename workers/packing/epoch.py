"""One slot's pass through an epoch: its place in the data, and its losses."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from workers.encoding.collation import TokenizedExample
from workers.families.base import Encoded
from workers.measures import Meter
from workers.packing.dropout import row_key
from workers.packing.optimizer import RowStep
from workers.packing.slot import PackedSlot
from workers.slots.protocol import TrainedEpoch
from workers.training import loop
from workers.training.loop import Examples


@dataclass(frozen=True, kw_only=True)
class SlotExamples:
    """The examples that one slot has in one micro-step."""

    images: Sequence[Encoded]
    rows: Sequence[TokenizedExample]
    """As tokens, one for each image."""
    keys: tuple[int, ...]
    """For dropout, see `workers.packing.dropout.row_key`."""
    tokens: int
    """Learned tokens of the whole optimizer step that they are part of."""


class Epoch:
    """One slot's pass through one epoch, optimizer step by optimizer step."""

    def __init__(self, slot: PackedSlot, examples: Examples) -> None:
        self.slot = slot
        self.meter = Meter(slot.arena.device)
        self.loss = math.nan
        """Mean over the optimizer steps, once the epoch is over."""
        self.error: Exception | None = None
        """Why the slot cannot continue."""
        self._examples = examples
        self._train = slot.recipe.train
        self._windows = examples.windows(slot.rung, self._train)
        self._per_epoch = loop.steps_per_epoch(len(examples.pairs), self._train)
        self._opened: list[int] = []
        """Examples of the optimizer step."""
        self._window: list[int] = []
        """Those of them that are not taken yet."""
        self._tokens = 0
        self._place = 0
        """Examples of this epoch before the rest of the window."""
        self.step = -1
        """Optimizer step of this epoch, from 0."""
        self._losses: list[float] = []
        """Loss of each optimizer step, as far as it was read."""
        self._open_window()

    @property
    def remaining(self) -> int:
        """Examples before the next optimizer step; 0 once the epoch is over."""
        return len(self._window)

    @property
    def left(self) -> float:
        """Share of the epoch's examples that are to come."""
        return 1.0 - self._place / len(self._examples.pairs)

    @property
    def steps(self) -> int:
        """Optimizer steps taken."""
        return len(self._losses) - bool(self._window)

    @property
    def overflowed(self) -> bool:
        """Whether gradients overflow without a scale, too; to read it may wait for the device."""
        scale = self.slot.loss_scale
        return scale is not None and bool(scale[0] < 1.0)

    def rewind(self) -> None:
        """Take back what was taken since the last optimizer step: its gradient is lost."""
        self._place -= len(self._opened) - len(self._window)
        self._window = list(self._opened)
        self._losses[self.step] = 0.0
        self.slot.forget_gradient()

    def take(self, most: int) -> SlotExamples:
        """Return the next examples of the optimizer step: at most so many, at least one.

        Raises what reading their images raises.
        """
        positions, self._window = self._window[:most], self._window[most:]
        places = range(self._place, self._place + len(positions))
        self._place += len(positions)
        return SlotExamples(
            images=self._examples.images(positions),
            rows=self._examples.rows(positions),
            keys=tuple(row_key(self._train.seed, self.slot.rung, place) for place in places),
            tokens=self._tokens,
        )

    def due(self) -> RowStep | None:
        """Return the optimizer step that follows, once all of its examples are taken."""
        if self._window:
            return None
        train, slot = self._train, self.slot
        done = slot.rung * self._per_epoch + self.step
        return RowStep(
            number=slot.steps + 1,
            learning_rate=loop.learning_rate(done, train.epochs * self._per_epoch, train),
            weight_decay=train.weight_decay,
            max_norm=train.max_grad_norm,
        )

    def stepped(self) -> None:
        """Begin the next optimizer step after one was taken, if there is one left."""
        self.slot.steps += 1
        self._open_window()

    def add(self, step: int, loss: float) -> None:
        """Add a part of the loss of an optimizer step.

        Raises `NonFiniteLossError` for one that is not finite.
        """
        self._losses[step] += loss
        if not math.isfinite(loss):
            before = self.slot.rung * self._per_epoch
            raise loop.not_finite(loss, before + step, self.slot.rung, self._train)

    def finish(self) -> None:
        """Set the loss of the epoch, which is over and whose losses are read; count its rung."""
        self.loss = sum(self._losses) / len(self._losses)
        self.slot.rung += 1

    def trained(self) -> TrainedEpoch:
        """Return the slot with the outcome of its epoch."""
        return TrainedEpoch(
            slot=self.slot,
            loss=self.loss,
            seconds=self.meter.seconds,
            steps=self.steps,
            truncated=self._examples.truncated,
            meter=self.meter,
            image_waits=self._examples.image_waits,
            error=self.error,
        )

    def _open_window(self) -> None:
        """Begin the next optimizer step, if there is one left."""
        batches = next(self._windows, None)
        if batches is None:
            return
        self.step += 1
        self._opened = [position for batch in batches for position in batch]
        self._window = list(self._opened)
        self._tokens = sum(row.learned for row in self._examples.rows(self._window))
        self._losses.append(0.0)
