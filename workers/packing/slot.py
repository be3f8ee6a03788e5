"""One trial of a pack: its optimizer, its place in the data, and its losses."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import torch

from workers.encoding.collation import TokenizedExample
from workers.families.base import Encoded
from workers.packing.arena import Arena
from workers.packing.dropout import row_key
from workers.packing.layout import Matrices
from workers.packing.peft_weights import FreshAdapter
from workers.recipe import Recipe, Train
from workers.training.loop import (
    Examples,
    epoch_windows,
    learning_rate,
    not_finite,
    steps_per_epoch,
)


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


@dataclass(kw_only=True)
class PackedSlot:
    """The whole mutable state of one trial; everything else is shared and frozen."""

    name: str
    recipe: Recipe
    fresh: FreshAdapter
    """Its layers, scale and config; its matrices are those before training."""
    arena: Arena
    parameter: torch.nn.Parameter
    """(width,): the slot's row of the arena, with its gradient."""
    optimizer: torch.optim.Optimizer
    """AdamW (Loshchilov and Hutter 2019) of this parameter alone."""
    rung: int = 0
    """Epochs done: with the seed, the data cursor and the state of dropout."""
    ailing: int = 0
    """Rungs with symptoms in a row, up to the last one."""

    def weights(self) -> list[torch.Tensor]:
        """Return views of A and B of each layer, of their true rank."""
        pairs = self.matrices(self.parameter.data).values()
        return [matrix for pair in pairs for matrix in pair]

    def matrices(self, row: torch.Tensor) -> Matrices:
        """Return views of what is in a row like this slot's (width,), of the true rank."""
        return self.arena.layout.unpacked(row, self.recipe.adapter.rank)

    def clip_gradient(self, most: float) -> None:
        """Scale the gradient down to an L2 norm of at most `most`.

        As `torch.nn.utils.clip_grad_norm_` does, which looks through a list of tensors for it: for
        a small one that takes longer than the work.
        """
        self._gradient.mul_((most / (self._gradient.norm() + 1e-6)).clamp(max=1.0))

    def forget_gradient(self) -> None:
        """Set the gradient to zero."""
        self._gradient.zero_()

    @property
    def _gradient(self) -> torch.Tensor:
        assert self.parameter.grad is not None  # a view of the arena's
        return self.parameter.grad


@dataclass(kw_only=True)
class Epoch:
    """The way of one slot through one epoch, optimizer step by optimizer step."""

    slot: PackedSlot
    examples: Examples
    _windows: Iterator[list[list[int]]] = field(init=False)
    _opened: list[int] = field(init=False, default_factory=list)
    """Examples of the optimizer step."""
    _window: list[int] = field(init=False, default_factory=list)
    """Those of them that are not taken yet."""
    _tokens: int = field(init=False, default=0)
    _place: int = field(init=False, default=0)
    """Examples of this epoch before the rest of the window."""
    _step: int = field(init=False, default=-1)
    """Optimizer step of this epoch, from 0."""
    _losses: list[torch.Tensor] = field(init=False, default_factory=list)
    """Loss of each optimizer step so far, on the device."""
    _read: list[float] = field(init=False, default_factory=list)
    """Those of the steps that had ended at the last look."""

    def __post_init__(self) -> None:
        pairs = len(self.examples.pairs)
        self._windows = epoch_windows(pairs, self.slot.rung, self._train)
        self._open_window()

    @property
    def remaining(self) -> int:
        """Examples before the next optimizer step; 0 once the epoch is over."""
        return len(self._window)

    @property
    def left(self) -> float:
        """Share of the epoch's examples that are to come."""
        return 1.0 - self._place / len(self.examples.pairs)

    def rewind(self) -> None:
        """Take back what was taken since the last optimizer step: its gradient is lost."""
        taken = self._opened[: len(self._opened) - len(self._window)]
        self._place -= len(taken)
        self._window = list(self._opened)
        self._losses[-1] = torch.zeros_like(self._losses[-1])
        self.slot.forget_gradient()

    def take(self, most: int) -> SlotExamples:
        """Return the next examples of the optimizer step: at most so many, at least one.

        Raises what reading their images raises.
        """
        positions, self._window = self._window[:most], self._window[most:]
        places = range(self._place, self._place + len(positions))
        self._place += len(positions)
        seed, epoch = self._train.seed, self.slot.rung
        return SlotExamples(
            images=self.examples.images(positions),
            rows=self.examples.rows(positions),
            keys=tuple(row_key(seed, epoch, place) for place in places),
            tokens=self._tokens,
        )

    def add(self, loss: torch.Tensor) -> None:
        """Count the loss of what was taken, and step where that ended an optimizer step."""
        self._losses[-1] = self._losses[-1] + loss
        if not self._window:
            self._update()
            self._open_window()

    def check(self) -> None:
        """Look at the losses since the last look, which waits for the device.

        Raises `NonFiniteLossError` for the first one that is not finite.
        """
        losses: list[float] = torch.stack(self._losses[len(self._read) :]).tolist()
        for step, loss in enumerate(losses, len(self._read)):
            if not math.isfinite(loss):
                raise not_finite(loss, self._before + step, self.slot.rung, self._train)
        self._read += losses[:-1] if self.remaining else losses

    def mean_loss(self) -> float:
        """Return the mean loss of the optimizer steps of the epoch, which is over.

        Raises what `check` raises.
        """
        self.check()
        return sum(self._read) / len(self._read)

    @property
    def _train(self) -> Train:
        return self.slot.recipe.train

    @property
    def _before(self) -> int:
        """Optimizer steps of the epochs before this one."""
        return self.slot.rung * steps_per_epoch(len(self.examples.pairs), self._train)

    def _open_window(self) -> None:
        """Begin the next optimizer step, if there is one left."""
        batches = next(self._windows, None)
        if batches is None:
            return
        self._step += 1
        self._opened = [position for batch in batches for position in batch]
        self._window = list(self._opened)
        self._tokens = sum(len(row.target) for row in self.examples.rows(self._window))
        self._losses.append(torch.zeros((), device=self.slot.parameter.device))

    def _update(self) -> None:
        """Clip the gradient and let the optimizer step."""
        steps = self._train.epochs * steps_per_epoch(len(self.examples.pairs), self._train)
        rate = learning_rate(self._before + self._step, steps, self._train)
        self.slot.optimizer.param_groups[0]["lr"] = rate
        if self._train.max_grad_norm is not None:
            self.slot.clip_gradient(self._train.max_grad_norm)
        self.slot.optimizer.step()
        self.slot.forget_gradient()
