"""Slots that train one after the other, an optimizer step at a time: each as if it were alone."""

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field

from workers.meter import Meter
from workers.slot import Slot
from workers.training import Examples, steps_per_epoch


@dataclass(frozen=True, kw_only=True)
class Trained:
    """A slot that has done its epoch, or could not."""

    slot: Slot
    loss: float
    """The mean over the epoch's steps."""
    seconds: float
    """What the slot's own steps took."""
    truncated: int
    """Captions that were cut at the model's last position."""
    meter: Meter
    """Goes on to measure the rung."""
    error: Exception | None = None
    """Why the slot cannot go on; its state lies somewhere between two rungs."""


@dataclass(kw_only=True)
class _Turn:
    """A slot in the middle of an epoch."""

    slot: Slot
    examples: Examples
    meter: Meter
    steps: Iterator[float]
    left: int
    """Steps to take."""
    losses: list[float] = field(default_factory=list)


class Turns:
    """The slots that are being trained alone, in the order of their turns."""

    def __init__(self) -> None:
        self._turns: deque[_Turn] = deque()

    def __bool__(self) -> bool:
        return bool(self._turns)

    def __contains__(self, name: object) -> bool:
        return any(turn.slot.name == name for turn in self._turns)

    def add(self, slot: Slot, examples: Examples) -> None:
        """Let a slot be trained for its next epoch."""
        self._turns.append(
            _Turn(
                slot=slot,
                examples=examples,
                meter=Meter(slot.adapted.base.device),
                steps=slot.epoch(examples),
                left=steps_per_epoch(len(examples.pairs), slot.recipe.train),
            )
        )

    def drop(self, name: str) -> None:
        """Forget what is left of a slot's epoch; nothing for one that is not being trained."""
        self._turns = deque(turn for turn in self._turns if turn.slot.name != name)

    def step(self) -> Trained | None:
        """Take one optimizer step of the slot whose turn it is.

        Returns that slot when it has done its epoch, or failed. There must be one.
        """
        turn = self._turns.popleft()
        try:
            with turn.meter.running(), turn.slot.turn():
                turn.losses.append(next(turn.steps))
        except Exception as error:
            return _trained(turn, error)
        turn.left -= 1
        if turn.left:
            self._turns.append(turn)
            return None
        turn.slot.rung += 1
        return _trained(turn)


def _trained(turn: _Turn, error: Exception | None = None) -> Trained:
    return Trained(
        slot=turn.slot,
        loss=sum(turn.losses) / max(1, len(turn.losses)),
        seconds=turn.meter.seconds,
        truncated=turn.examples.truncated,
        meter=turn.meter,
        error=error,
    )
