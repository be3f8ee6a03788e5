"""A host: one process that keeps base models resident and trains many trials on them.

A plain class without any scheduler in it. Trials come and go between two units of work; `step`
does one unit, so that the owner of the host can do other things in between.
"""

from collections import deque
from collections.abc import Callable, Collection, Hashable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

import torch

from workers import measures
from workers.data.sample import DataSet, Sample
from workers.evaluation.evaluator import Evaluator
from workers.evaluation.scoring import Scoring
from workers.host import combinations, rungs
from workers.host.residents import Residents
from workers.memory import errors
from workers.memory.fit import Device
from workers.memory.footprint import Correction
from workers.recipe import Recipe
from workers.report import Done, Report
from workers.slots.protocol import TrainedEpoch, Trainer, TrialSlot


@dataclass(frozen=True)
class _Placed:
    """A slot and its trainer."""

    slot: TrialSlot
    trainer: Trainer


class Host:
    """Admits trials to slots, trains and scores them side by side, and evicts them.

    A slot trains, is evaluated when it has reached its rung, with the others that have reached
    theirs, and is done. The error of a slot ends its own work alone.

    Args:
        device: where the bases live; None takes the first GPU, or the CPU.
        threads: threads of torch on the CPU; None leaves torch's own choice.
        scoring: the data, and what captions are scored with; None makes them for this host alone.
        packing: whether trials that can be trained in one pack are; else all train alone.
        share: what this host has of the device; None where that is not known.
        decoders: processes that make images ahead of the steps; 0 makes each when it is needed.
    """

    def __init__(
        self,
        device: str | None = None,
        threads: int | None = None,
        scoring: Scoring | None = None,
        *,
        packing: bool = True,
        share: Device | None = None,
        decoders: int = 0,
    ) -> None:
        self.device = torch.device(device or ("cuda:0" if torch.cuda.is_available() else "cpu"))
        if threads is not None:
            torch.set_num_threads(threads)
        self.residents = Residents(
            self.device, scoring or Scoring(), packing=packing, share=share, decoders=decoders
        )
        self._slots: dict[str, _Placed] = {}
        self._training: set[str] = set()
        """Slots that train."""
        self._reached: dict[str, TrainedEpoch] = {}
        """Slots that are to be evaluated."""
        self._finals: dict[str, Path] = {}
        """Slots whose saved adapter is to be scored, with its folder."""
        self._done: dict[str, Done] = {}
        """Done, and not returned yet."""
        self._turns: deque[Trainer] = deque()
        """Trainers with slots that train; the first is next."""

    def admit(self, name: str, recipe: Recipe) -> Report:
        """Open a slot for a new trial and return rung 0: the base's own scores.

        With them come the measures of the adapter that are known before it is trained.
        Raises ValueError for a recipe that this host cannot train, naming the field.
        """
        for field_name, reason in combinations.conflicts(recipe):
            raise ValueError(f"{field_name} {reason}")
        self.residents.scoring.scorer(recipe)  # its Java process starts while the base loads
        slot = self._open(name, recipe)
        baseline = self.residents.zero_shot(recipe)
        return replace(baseline, metrics={**baseline.metrics, **measures.adapter(slot.weights())})

    def prepare(self, recipe: Recipe) -> None:
        """Make what can be made of the training images before a trial begins."""
        self.residents.examples(recipe)

    @property
    def images_prepared(self) -> tuple[int, int]:
        """How many images are made, of how many, where those of a whole split are."""
        return self.residents.images_prepared

    def restore(self, name: str, recipe: Recipe, folder: Path) -> None:
        """Open a slot that resumes from a snapshot: alone or in an equal pack bit-identically."""
        self._open(name, recipe).restore(folder)

    def start_from_adapter(self, name: str, recipe: Recipe, folder: Path, rung: int) -> None:
        """Open a slot that begins with an adapter which was trained for `rung` epochs."""
        self._open(name, recipe).load_adapter(folder, rung)

    def begin(self, name: str) -> None:
        """Begin one rung of the slot, trained and scored by the steps that follow.

        The result is a report, or `workers.training.loop.NonFiniteLossError` when the loss is not
        finite, unless the guard is to stop such a trial: then the report has it. Raises
        RuntimeError for a slot that is at work.
        """
        placed = self._idle(name)
        placed.trainer.begin(name, self.residents.examples(placed.slot.recipe))
        self._training.add(name)
        if placed.trainer not in self._turns:
            self._turns.append(placed.trainer)

    def begin_score(self, name: str, folder: Path) -> None:
        """Begin to score the adapter saved in `folder` as a finished trial's, as ``final/*``.

        With ``evaluate.final_beams`` on ``evaluate.final_limit`` images, by the steps that follow.
        Raises RuntimeError for a slot that is at work.
        """
        self._idle(name)
        self._finals[name] = folder

    @property
    def busy(self) -> bool:
        """Whether there is work for `step`."""
        return any(self._places())

    def step(self) -> list[Done]:
        """Do one unit of work, if there is any, and return the work that is done.

        A unit is the evaluation of all slots that are due, else one optimizer step. The error of
        a slot is in its `Done` and ends nothing but its own work.
        """
        if not self._done:
            self._step()
        done, self._done = list(self._done.values()), {}
        return done

    def is_at_work(self, name: str) -> bool:
        """Return whether a slot trains, waits for its evaluation, or has a result to return."""
        return any(name in place for place in self._places())

    def advance(self, name: str) -> Report:
        """Train the slot for one rung, score it, and report; raises as described there.

        Slots that are at work continue meanwhile; their reports wait for their own `advance` or
        for the next `step`. A slot that has begun its rung continues with it.
        """
        if not self.is_at_work(name):
            self.begin(name)
        return self._result_of(name)

    def score(self, name: str, folder: Path) -> Report:
        """Score the adapter saved in `folder`, see `begin_score`, and report."""
        self.begin_score(name, folder)
        return self._result_of(name)

    def snapshot(self, name: str, folder: Path) -> None:
        """Write all that `restore` needs; complete only when this returns.

        Raises RuntimeError for a slot that is at work: only at a rung is all of it known.
        """
        self._idle(name).slot.snapshot(folder)

    def export(self, name: str, folder: Path) -> None:
        """Write the slot's adapter as plain peft loads it."""
        self._slot(name).slot.export(folder)

    def evict(self, name: str) -> None:
        """Close a slot with its work; nothing for an unknown one."""
        self._training.discard(name)
        waiting: dict[str, Any]
        for waiting in (self._reached, self._finals, self._done):
            waiting.pop(name, None)
        placed = self._slots.pop(name, None)
        if placed is not None:
            placed.trainer.evict(name)
            self.residents.device_memory.close(name)
        # A trainer without work would hold its base, which may have to leave.
        self._turns = deque(trainer for trainer in self._turns if trainer.busy)

    @property
    def correction(self) -> Correction:
        """The correction of memory estimates by what the trials took."""
        return self.residents.device_memory.correction

    def data_set(self, recipe: Recipe) -> DataSet:
        """Return the recipe's data, loaded once per host."""
        return self.residents.scoring.data_set(recipe)

    def why_not_packed(self, recipe: Recipe) -> str | None:
        """Return why the recipe does not train in a pack here; None if it does."""
        return self.residents.why_not_packed(recipe)

    def scored_samples(self, recipe: Recipe) -> tuple[Sample, ...]:
        """Return the validation images that the recipe's trials are scored on."""
        return self.residents.scoring.scored_samples(recipe)

    def final_samples(self, recipe: Recipe) -> tuple[Sample, ...]:
        """Return the validation images that finished trials are scored on in the end."""
        scoring = self.residents.scoring
        return scoring.scored_samples(scoring.final(recipe))

    def close(self) -> None:
        """Close all slots and release scorers and bases."""
        for name in list(self._slots):
            self.evict(name)
        self.residents.close()

    def _open(self, name: str, recipe: Recipe) -> TrialSlot:
        trainer = self.residents.trainer(recipe)
        slot = trainer.admit(name, recipe)
        self._slots[name] = _Placed(slot, trainer)
        self.residents.device_memory.open(name, recipe)
        return slot

    def _slot(self, name: str) -> _Placed:
        if name not in self._slots:
            raise KeyError(f"no slot {name!r} on this host; open are {sorted(self._slots)}")
        return self._slots[name]

    def _idle(self, name: str) -> _Placed:
        placed = self._slot(name)
        if self.is_at_work(name):
            raise RuntimeError(f"slot {name!r} is at work; wait until it is done, or evict it")
        return placed

    def _result_of(self, name: str) -> Report:
        """Finish a slot's work; raises the error that ended it."""
        while name not in self._done:
            self._step()
        done = self._done.pop(name)
        if done.report is None:
            assert done.error, "what has no report has an error"
            raise done.error
        return done.report

    def _places(self) -> tuple[Collection[str], ...]:
        return self._training, self._reached, self._finals, self._done

    def _step(self) -> None:
        """Evaluate all slots that are due, else let the next trainer do a step, if there is any."""
        if self._reached or self._finals:
            self._evaluate()
        elif self._turns:
            trainer = self._turns.popleft()
            if trainer.busy:
                for trained in trainer.step():
                    self._training.remove(trained.slot.name)
                    self._reached[trained.slot.name] = trained
            if trainer.busy:
                self._turns.append(trainer)

    def _evaluate(self) -> None:
        """Evaluate what is due, those together that are scored alike."""
        reached, self._reached = self._reached, {}
        finals, self._finals = self._finals, {}
        alike: dict[Hashable, list[str]] = {}
        for name, trained in reached.items():
            placed, key = self._slots[name], cast(Hashable, name)
            if not trained.error:
                evaluator = self.residents.evaluator(placed.slot.recipe)
                key = id(placed.trainer), id(evaluator), rungs.beams(placed.slot)
            alike.setdefault(key, []).append(name)
        for names in alike.values():
            self._complete(names, lambda some: self._rungs([reached[name] for name in some]))
        alike = {}
        for name in finals:
            placed = self._slots[name]
            evaluator = self._final_evaluator(placed.slot)
            beams = placed.slot.recipe.evaluate.final_beams
            alike.setdefault((id(placed.trainer), id(evaluator), beams), []).append(name)
        for names in alike.values():
            self._complete(names, lambda some: self._score({name: finals[name] for name in some}))

    def _complete(self, names: list[str], work: Callable[[list[str]], list[Report]]) -> None:
        """Do some work for several slots together; an error in it is the error of each.

        When memory runs out, each half of them has its turn, at last every slot alone, and once
        more when unused bases and features have left the device.
        """
        try:
            if len(names) == 1:
                reports = self.residents.device_memory.attempt(lambda: work(names))
            else:
                reports = work(names)
        except Exception as error:
            failure = error.with_traceback(None)  # its frames hold what did not fit
        else:
            done = zip(names, reports, strict=True)
            self._done |= {name: Done(name=name, report=report) for name, report in done}
            return
        if len(names) == 1 or not errors.is_out_of_memory(failure):
            self._done |= {name: Done(name=name, error=failure) for name in names}
            return
        errors.release()
        half = len(names) // 2
        self._complete(names[:half], work)
        self._complete(names[half:], work)

    def _rungs(self, reached: list[TrainedEpoch]) -> list[Report]:
        first = reached[0]
        if first.error:  # such a slot is by itself
            return [rungs.broken_off(first, first.error)]
        trainer = self._slots[first.slot.name].trainer
        return rungs.reports(trainer, reached, self.residents.evaluator(first.slot.recipe))

    def _score(self, folders: dict[str, Path]) -> list[Report]:
        placed = [self._slots[name] for name in folders]
        evaluator = self._final_evaluator(placed[0].slot)
        return rungs.finals(placed[0].trainer, [own.slot for own in placed], folders, evaluator)

    def _final_evaluator(self, slot: TrialSlot) -> Evaluator:
        return self.residents.evaluator(self.residents.scoring.final(slot.recipe))
