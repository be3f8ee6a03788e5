"""The work in flight on a host: which slots train, which are evaluated, what is done."""

from collections.abc import Callable, Container
from functools import partial
from pathlib import Path

from workers import rungs
from workers.report import Done, Report
from workers.residents import Residents
from workers.slot import Slot
from workers.turns import Trained, Turns


class Work:
    """Rungs of several slots, side by side: `step` does one unit of one of them.

    A slot trains (`Turns`), is evaluated when it has reached its rung, and is done. The error of
    a slot ends its own work alone.
    """

    def __init__(self, residents: Residents) -> None:
        self._residents = residents
        self._turns = Turns()
        self._reached: dict[str, Trained] = {}
        """Slots that are to be evaluated, by name."""
        self._finals: dict[str, tuple[Slot, Path]] = {}
        """Slots whose saved adapter is to be scored, with its folder."""
        self._done: dict[str, Done] = {}
        """What nobody has taken yet."""

    def __contains__(self, name: str) -> bool:
        return any(name in each for each in self._places())

    def __bool__(self) -> bool:
        return any(self._places())

    def train(self, slot: Slot) -> None:
        """Let a slot be trained for one rung and evaluated."""
        self._turns.add(slot, self._residents.examples(slot.recipe))

    def score(self, slot: Slot, folder: Path) -> None:
        """Let the adapter saved in `folder` be scored in this slot as a finished trial's."""
        self._finals[slot.name] = slot, folder

    def step(self) -> None:
        """Evaluate all slots that are due, else take one optimizer step, if there is any."""
        if self._reached or self._finals:
            self._evaluate()
        elif self._turns and (trained := self._turns.step()):
            self._reached[trained.slot.name] = trained

    def take(self) -> list[Done]:
        """Return, once, whose work is done."""
        done, self._done = list(self._done.values()), {}
        return done

    def finish(self, name: str) -> Done:
        """Go on until one slot's work is done; what others are done with is kept."""
        while name not in self._done:
            self.step()
        return self._done.pop(name)

    def drop(self, name: str) -> None:
        """Forget the work of a slot; nothing for one that has none."""
        self._turns.drop(name)
        for waiting in (self._reached, self._finals, self._done):
            waiting.pop(name, None)

    def _places(self) -> tuple[Container[str], ...]:
        return self._turns, self._reached, self._finals, self._done

    def _evaluate(self) -> None:
        reached, self._reached = self._reached, {}
        finals, self._finals = self._finals, {}
        due: dict[str, Callable[[], Report]] = {
            **{name: partial(self._rung, trained) for name, trained in reached.items()},
            **{name: partial(self._final, *each) for name, each in finals.items()},
        }
        self._done |= {name: _done(name, work) for name, work in due.items()}

    def _rung(self, trained: Trained) -> Report:
        if trained.error:
            return rungs.broken_off(trained, trained.error)
        evaluator = self._residents.evaluator(trained.slot.recipe)
        with trained.meter.running():
            found = rungs.evaluated(trained.slot, evaluator)
        return rungs.report(trained, found)

    def _final(self, slot: Slot, folder: Path) -> Report:
        evaluator = self._residents.evaluator(self._residents.final(slot.recipe))
        return rungs.final(slot, evaluator, folder)


def _done(name: str, work: Callable[[], Report]) -> Done:
    try:
        return Done(name=name, report=work())
    except Exception as error:
        return Done(name=name, error=error)
