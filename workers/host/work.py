"""The work in flight on a host: slots that train, slots to evaluate, and work that is done."""

from collections import deque
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from workers.evaluation.evaluator import Evaluator
from workers.host import rungs
from workers.host.residents import Residents
from workers.memory import errors
from workers.report import Done, Report
from workers.slots.protocol import TrainedEpoch, Trainer, TrialSlot

T = TypeVar("T")


@dataclass(frozen=True)
class Placed:
    """A slot and its trainer."""

    slot: TrialSlot
    trainer: Trainer


class Work:
    """Rungs of several slots, side by side: `step` does one unit.

    A slot trains, is evaluated when it has reached its rung, with the others that have reached
    theirs, and is done. The error of a slot ends its own work alone.
    """

    def __init__(self, residents: Residents) -> None:
        self._residents = residents
        self._training: dict[str, Placed] = {}
        """Slots that train, by name."""
        self._reached: dict[str, tuple[Placed, TrainedEpoch]] = {}
        """Slots that are to be evaluated."""
        self._finals: dict[str, tuple[Placed, Path]] = {}
        """Slots whose saved adapter is to be scored, with its folder."""
        self._done: dict[str, Done] = {}
        """Done, and not taken yet."""
        self._turns: deque[Trainer] = deque()
        """Trainers with slots that train; the first is next."""

    def __contains__(self, name: str) -> bool:
        return any(name in each for each in self._places())

    def __bool__(self) -> bool:
        return any(self._places())

    def train(self, placed: Placed) -> None:
        """Begin one rung of a slot: trained and evaluated."""
        name, recipe = placed.slot.name, placed.slot.recipe
        placed.trainer.begin(name, self._residents.examples(recipe))
        self._training[name] = placed
        if placed.trainer not in self._turns:
            self._turns.append(placed.trainer)

    def score(self, placed: Placed, folder: Path) -> None:
        """Score the adapter saved in `folder` in this slot as a finished trial's."""
        self._finals[placed.slot.name] = placed, folder

    def step(self) -> None:
        """Evaluate all slots that are due, else let the next trainer do a step, if there is any."""
        if self._reached or self._finals:
            self._evaluate()
        elif self._turns:
            self._train()

    def take(self) -> list[Done]:
        """Return, once, the work that is done."""
        done, self._done = list(self._done.values()), {}
        return done

    def finish(self, name: str) -> Done:
        """Step until one slot's work is done; the work of others that ends meanwhile is kept."""
        while name not in self._done:
            self.step()
        return self._done.pop(name)

    def drop(self, name: str) -> None:
        """Forget the work of a slot; nothing for one that has none."""
        if name in self._training:
            self._training[name].trainer.drop(name)
        for waiting in self._places():
            waiting.pop(name, None)
        # One without work would hold its base, which may have to leave.
        self._turns = deque(trainer for trainer in self._turns if trainer.busy)

    def _places(self) -> tuple[dict[str, Any], ...]:
        return self._training, self._reached, self._finals, self._done

    def _train(self) -> None:
        trainer = self._turns.popleft()
        if trainer.busy:
            for trained in trainer.step():
                name = trained.slot.name
                self._reached[name] = self._training.pop(name), trained
        if trainer.busy:
            self._turns.append(trainer)

    def _evaluate(self) -> None:
        """Evaluate what is due, those together that are scored alike."""
        reached, self._reached = self._reached, {}
        finals, self._finals = self._finals, {}
        rungs_alike: dict[Hashable, list[tuple[Placed, TrainedEpoch]]] = {}
        for placed, trained in reached.values():
            slot = placed.slot
            key: Hashable = slot.name
            if not trained.error:
                evaluator = self._residents.evaluator(slot.recipe)
                key = id(placed.trainer), id(evaluator), rungs.beams(slot)
            rungs_alike.setdefault(key, []).append((placed, trained))
        for some in rungs_alike.values():
            self._finish(some, self._rungs)
        finals_alike: dict[Hashable, list[tuple[Placed, Path]]] = {}
        for placed, folder in finals.values():
            evaluator = self._final_evaluator(placed.slot)
            final_beams = placed.slot.recipe.evaluate.final_beams
            key = id(placed.trainer), id(evaluator), final_beams
            finals_alike.setdefault(key, []).append((placed, folder))
        for each in finals_alike.values():
            self._finish(each, self._score_finals)

    def _finish(
        self,
        waiting: list[tuple[Placed, T]],
        work: Callable[[list[tuple[Placed, T]]], list[Report]],
    ) -> None:
        """Do some work for several slots together; an error in it is the error of each.

        When memory runs out, each half of them has its turn, at last every slot alone, and once
        more when unused bases and features have left the device.
        """
        names = [placed.slot.name for placed, _ in waiting]
        try:
            if len(waiting) == 1:
                reports = self._residents.device_memory.attempt(lambda: work(waiting))
            else:
                reports = work(waiting)
        except Exception as error:
            failure = error.with_traceback(None)  # its frames hold what did not fit
        else:
            done = zip(names, reports, strict=True)
            self._done |= {name: Done(name=name, report=report) for name, report in done}
            return
        if len(waiting) == 1 or not errors.is_out_of_memory(failure):
            self._done |= {name: Done(name=name, error=failure) for name in names}
            return
        errors.release()
        half = len(waiting) // 2
        self._finish(waiting[:half], work)
        self._finish(waiting[half:], work)

    def _rungs(self, reached: list[tuple[Placed, TrainedEpoch]]) -> list[Report]:
        (first, trained), *_ = reached
        if trained.error:  # such a slot is by itself
            return [rungs.broken_off(trained, trained.error)]
        evaluator = self._residents.evaluator(first.slot.recipe)
        return rungs.reports(first.trainer, [each for _, each in reached], evaluator)

    def _score_finals(self, finals: list[tuple[Placed, Path]]) -> list[Report]:
        first, _ = finals[0]
        folders = {placed.slot.name: folder for placed, folder in finals}
        slots = [placed.slot for placed, _ in finals]
        return rungs.finals(first.trainer, slots, folders, self._final_evaluator(first.slot))

    def _final_evaluator(self, slot: TrialSlot) -> Evaluator:
        return self._residents.evaluator(self._residents.scoring.final(slot.recipe))
