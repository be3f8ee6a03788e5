"""A host: one process that keeps base models resident and trains many trials on them.

A plain class without any scheduler in it. Trials come and go between two units of work; `step`
does one unit, so that the owner of the host can do other things in between.
"""

from dataclasses import replace
from pathlib import Path

import torch

from workers import measures
from workers.data.sample import DataSet, Sample
from workers.evaluation.scoring import Scoring
from workers.host import combinations
from workers.host.residents import Residents
from workers.host.work import Placed, Work
from workers.memory.fit import Device
from workers.memory.footprint import Correction
from workers.recipe import Recipe
from workers.report import Done, Report
from workers.slots.protocol import TrialSlot


class Host:
    """Admits trials to slots, trains and scores them side by side, and evicts them.

    Args:
        device: where the bases live; None takes the first GPU, or the CPU.
        threads: threads of torch on the CPU; None leaves torch's own choice.
        scoring: the data, and what captions are scored with; None makes them for this host alone.
        packing: whether trials that can be trained in one pack are; else all train alone.
        share: what this host has of the device; None where that is not known.
    """

    def __init__(
        self,
        device: str | None = None,
        threads: int | None = None,
        scoring: Scoring | None = None,
        *,
        packing: bool = True,
        share: Device | None = None,
    ) -> None:
        self.device = torch.device(device or ("cuda:0" if torch.cuda.is_available() else "cpu"))
        if threads is not None:
            torch.set_num_threads(threads)
        self.residents = Residents(self.device, scoring or Scoring(), packing=packing, share=share)
        self._slots: dict[str, Placed] = {}
        self._work = Work(self.residents)

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
        self._work.train(self._idle(name))

    def begin_score(self, name: str, folder: Path) -> None:
        """Begin to score the adapter saved in `folder` as a finished trial's, as ``final/*``.

        With ``evaluate.final_beams`` on ``evaluate.final_limit`` images, by the steps that follow.
        Raises RuntimeError for a slot that is at work.
        """
        self._work.score(self._idle(name), folder)

    @property
    def busy(self) -> bool:
        """Whether there is work for `step`."""
        return bool(self._work)

    def step(self) -> list[Done]:
        """Do one unit of work, if there is any, and return the work that is done.

        A unit is the evaluation of all slots that are due, else one optimizer step. The error of
        a slot is in its `Done` and ends nothing but its own work.
        """
        kept = self._work.take()
        if kept:
            return kept
        self._work.step()
        return self._work.take()

    def advance(self, name: str) -> Report:
        """Train the slot for one rung, score it, and report; raises as described there.

        Slots that are at work continue meanwhile; their reports wait for their own `advance` or
        for the next `step`. A slot that has begun its rung continues with it.
        """
        if name not in self._work:
            self.begin(name)
        return self._finished(name)

    def score(self, name: str, folder: Path) -> Report:
        """Score the adapter saved in `folder`, see `begin_score`, and report."""
        self.begin_score(name, folder)
        return self._finished(name)

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
        self._work.drop(name)
        placed = self._slots.pop(name, None)
        if placed is not None:
            placed.trainer.evict(name)
            self.residents.device_memory.close(name)

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
        self._slots[name] = Placed(slot, trainer)
        self.residents.device_memory.open(name, recipe)
        return slot

    def _slot(self, name: str) -> Placed:
        if name not in self._slots:
            raise KeyError(f"no slot {name!r} on this host; open are {sorted(self._slots)}")
        return self._slots[name]

    def _idle(self, name: str) -> Placed:
        placed = self._slot(name)
        if name in self._work:
            raise RuntimeError(f"slot {name!r} is at work; wait until it is done, or evict it")
        return placed

    def _finished(self, name: str) -> Report:
        """Finish a slot's work; raises the error that ended it."""
        done = self._work.finish(name)
        if done.report is None:
            assert done.error, "what has no report has an error"
            raise done.error
        return done.report
