"""A host: one process that keeps base models resident and trains many trials on them.

A plain class without any scheduler in it. Trials come and go between two units of work; `step`
does one unit, so that the owner of the host can do other things in between.
"""

import shutil
import tempfile
from collections import deque
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import cast

import torch

from workers import measures
from workers.data.sample import DataSet, Sample
from workers.evaluation.evaluator import Evaluator
from workers.evaluation.scoring import Scoring
from workers.host import combinations, rungs
from workers.host.outbox import Outbox
from workers.host.residents import Residents
from workers.memory import errors
from workers.memory.fit import Device
from workers.memory.footprint import Correction
from workers.memory.layers import DataExtent
from workers.recipe import Recipe
from workers.report import Done, Report
from workers.slots.protocol import TrainedEpoch, Trainer, TrialSlot
from workers.slots.slot import copy_adapter, copy_snapshot

_PAUSE_SECONDS = 0.05
"""So long a step without other work waits for scores, before the owner has its turn."""


@dataclass(frozen=True)
class _Placed:
    """A slot and its trainer."""

    slot: TrialSlot
    trainer: Trainer


class Host:
    """Admits trials to slots, trains and scores them side by side, and evicts them.

    A slot trains, is evaluated when it has reached its rung, with the others that have reached
    theirs, and is done when its captions are scored: in another thread, or the process that the
    scorer is a handle on, while other slots train. The error of a slot ends its own work alone.

    With `train_ahead` the slot itself trains on, too, before its rung is reported, and before the
    next one is asked for, which it does not go beyond. Its state at the rung is kept until then:
    that is what a snapshot and an export have, and what is left when it is evicted.

    Args:
        device: where the bases live; None takes the first GPU, or the CPU.
        threads: threads of torch on the CPU; None leaves torch's own choice.
        scoring: the data, and what captions are scored with; None makes them for this host alone.
        packing: whether trials that can be trained in one pack are; else all train alone.
        share: what this host has of the device; None where that is not known.
        train_ahead: whether slots train on before their rung is reported.
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
        train_ahead: bool = False,
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
        self._outbox = Outbox()
        """Results of slots that are evaluated."""
        self._turns: deque[Trainer] = deque()
        """Trainers with slots that train; the first is next."""
        self._states: tempfile.TemporaryDirectory[str] | None = None
        if train_ahead:
            self._states = tempfile.TemporaryDirectory(prefix="train-ahead-")
        self._ahead: dict[str, Path] = {}
        """Slots that train a rung which is not begun yet, with a snapshot of their last one."""
        self._early: dict[str, TrainedEpoch] = {}
        """Those of them that have done it."""

    def admit(self, name: str, recipe: Recipe) -> Report:
        """Open a slot for a new trial and return rung 0: the base's own scores.

        With them come the measures of the adapter that are known before it is trained.
        Raises ValueError for a recipe that this host cannot train, naming the field.
        """
        for field_name, reason in combinations.conflicts(recipe):
            raise ValueError(f"{field_name} {reason}")
        self.residents.scoring.scorer(recipe)  # its Java process starts while the base loads
        slot = self._open(name, recipe)
        baseline = self.residents.zero_shot(name, recipe)
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
        self._idle(name)
        if name not in self._ahead:
            self._train(name)
        else:
            shutil.rmtree(self._ahead.pop(name), ignore_errors=True)
            if name in self._early:
                self._reached[name] = self._early.pop(name)

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
        return any((self._training, self._reached, self._finals, self._outbox))

    def step(self) -> list[Done]:
        """Do one unit of work, if there is any, and return the work that is done.

        A unit is the evaluation of all slots that are due, else a step of one trainer's slots, else
        a short wait for scores. What is done is returned in the order of its evaluation. The error
        of a slot is in its `Done` and ends nothing but its own work.
        """
        if not self._outbox.complete():
            self._step()
        return [self._outbox.take(name) for name in self._outbox.complete()]

    def is_at_work(self, name: str) -> bool:
        """Return whether a slot trains, waits for its evaluation, or has a result to return.

        One that only trains ahead is not.
        """
        trains = name in self._training and name not in self._ahead
        return trains or any(name in own for own in (self._reached, self._finals, self._outbox))

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
        placed = self._idle(name)
        if name in self._ahead:
            copy_snapshot(self._ahead[name], folder)
        else:
            placed.slot.snapshot(folder)

    def export(self, name: str, folder: Path) -> None:
        """Write the slot's adapter as plain peft loads it; it is that of the rung, see `Host`."""
        placed = self._slot(name)
        if name in self._ahead:
            copy_adapter(self._ahead[name], folder)
        else:
            placed.slot.export(folder)

    def evict(self, name: str) -> int:
        """Close a slot with its work, and return the optimizer steps that it has trained ahead.

        Does nothing for an unknown one.
        """
        discarded = self._discard_ahead(name)
        self._training.discard(name)
        self._reached.pop(name, None)
        self._finals.pop(name, None)
        self._outbox.discard(name)
        placed = self._slots.pop(name, None)
        if placed is not None:
            placed.trainer.evict(name)
            self.residents.device_memory.close(name)
        # A trainer without work would hold its base, which may have to leave.
        self._turns = deque(trainer for trainer in self._turns if trainer.busy)
        return discarded

    @property
    def correction(self) -> Correction:
        """The correction of memory estimates by what the trials took."""
        return self.residents.device_memory.correction

    def data_set(self, recipe: Recipe) -> DataSet:
        """Return the recipe's data, loaded once per host."""
        return self.residents.scoring.data_set(recipe)

    def extent(self, recipe: Recipe) -> DataExtent:
        """Return the sizes of the recipe's data that memory depends on."""
        return self.residents.extent(recipe)

    def why_not_packed(self, recipe: Recipe) -> str | None:
        """Return why the recipe does not train in a pack here; None if it does."""
        return self.residents.why_not_packed(recipe)

    def cut_captions(self, recipe: Recipe) -> str | None:
        """Return that captions are shorter than ``evaluate.max_new_tokens``; None if they are not.

        A model writes no further than its positions.
        """
        asked = recipe.evaluate.max_new_tokens
        most, prompt = self.residents.evaluator(recipe).new_tokens
        if most == asked:
            return None
        return (
            f"captions: at most {most} tokens instead of {asked} (evaluate.max_new_tokens): "
            f"a prompt of {prompt} tokens leaves no more of the model's positions"
        )

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
        self._outbox.close()
        if self._states:
            self._states.cleanup()
        self.residents.close()

    def _open(self, name: str, recipe: Recipe) -> TrialSlot:
        residents = self.residents
        # A second try looks for its trainer again: its base may be what left to make room.
        slot = residents.device_memory.attempt(
            lambda: residents.trainer(recipe).admit(name, recipe)
        )
        self._slots[name] = _Placed(slot, residents.trainer(recipe))
        residents.count(name, recipe)
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

    def _train(self, name: str) -> None:
        """Begin the slot's next epoch."""
        placed = self._slots[name]
        placed.trainer.begin(name, self.residents.examples(placed.slot.recipe))
        self._training.add(name)
        if placed.trainer not in self._turns:
            self._turns.append(placed.trainer)

    def _train_ahead(self, name: str, report: Report) -> None:
        """Begin the slot's next epoch before this report is returned, unless it is the last one."""
        if self._states is None or report.finished or report.collapsed:
            return
        folder = Path(self._states.name) / name
        try:
            self._slots[name].slot.snapshot(folder)
        except Exception:  # such as no room for it: the slot waits
            shutil.rmtree(folder, ignore_errors=True)
            return
        self._ahead[name] = folder
        self._train(name)

    def _discard_ahead(self, name: str) -> int:
        """Drop what a slot has trained ahead, and return its optimizer steps."""
        if name not in self._ahead:
            return 0
        shutil.rmtree(self._ahead.pop(name), ignore_errors=True)
        if name in self._early:
            return self._early.pop(name).steps
        return self._slots[name].trainer.drop(name)

    def _result_of(self, name: str) -> Report:
        """Finish a slot's work; raises the error that ended it."""
        while not self._outbox.is_complete(name):
            self._step()
        done = self._outbox.take(name)
        if done.report is None:
            assert done.error, "what has no report has an error"
            raise done.error
        return done.report

    def _step(self) -> None:
        """Evaluate all slots that are due, else let the next trainer do a step, else wait."""
        if self._reached or self._finals:
            self._evaluate()
        elif self._turns:
            trainer = self._turns.popleft()
            if trainer.busy:
                for trained in trainer.step():
                    name = trained.slot.name
                    self._training.remove(name)
                    (self._early if name in self._ahead else self._reached)[name] = trained
            if trainer.busy:
                self._turns.append(trainer)
        else:
            self._outbox.wait(_PAUSE_SECONDS)

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
            if error := reached[names[0]].error:  # such a slot is by itself
                self._outbox.add(_broken_off(reached[names[0]], error))
            else:
                self._evaluate_rungs(names, reached)
        alike = {}
        for name in finals:
            placed = self._slots[name]
            evaluator = self._final_evaluator(placed.slot)
            beams = placed.slot.recipe.evaluate.final_beams
            alike.setdefault((id(placed.trainer), id(evaluator), beams), []).append(name)
        for names in alike.values():
            self._evaluate_finals(names, finals)

    def _evaluate_rungs(self, names: list[str], reached: Mapping[str, TrainedEpoch]) -> None:
        first = self._slots[names[0]]
        evaluator = self.residents.evaluator(first.slot.recipe)

        def work(some: list[str]) -> list[rungs.Unscored]:
            return rungs.evaluate(first.trainer, [reached[name] for name in some], evaluator)

        self._complete(names, evaluator, work)

    def _evaluate_finals(self, names: list[str], folders: Mapping[str, Path]) -> None:
        first = self._slots[names[0]]
        evaluator = self._final_evaluator(first.slot)

        def work(some: list[str]) -> list[rungs.Unscored]:
            slots, own = [self._slots[name].slot for name in some], {n: folders[n] for n in some}
            return rungs.evaluate_saved(first.trainer, slots, own, evaluator, self.device)

        self._complete(names, evaluator, work)

    def _complete(
        self,
        names: list[str],
        evaluator: Evaluator,
        work: Callable[[list[str]], list[rungs.Unscored]],
    ) -> None:
        """Evaluate several slots together, and let their captions be scored.

        An error is that of each. When memory runs out, once more when unused bases and features
        have left the device; then each half of them has its turn, at last every slot alone.
        """
        try:
            unscored = self.residents.device_memory.attempt(lambda: work(names))
        except Exception as error:
            failure = errors.emptied(error)  # its frames hold what did not fit
        else:
            self._outbox.score(dict(zip(names, unscored, strict=True)), evaluator)
            for name, rung in zip(names, unscored, strict=True):
                self._train_ahead(name, rung.report)
            return
        if len(names) == 1 or not errors.is_out_of_memory(failure):
            for name in names:
                self._outbox.add(Done(name=name, error=failure))
            return
        errors.release()
        half = len(names) // 2
        self._complete(names[:half], evaluator, work)
        self._complete(names[half:], evaluator, work)

    def _final_evaluator(self, slot: TrialSlot) -> Evaluator:
        return self.residents.evaluator(self.residents.scoring.final(slot.recipe))


def _broken_off(trained: TrainedEpoch, error: Exception) -> Done:
    """Return the outcome of a rung whose training an error ended: there is nothing to score."""
    try:
        return Done(name=trained.slot.name, report=rungs.broken_off(trained, error))
    except Exception as raised:
        return Done(name=trained.slot.name, error=errors.emptied(raised))
