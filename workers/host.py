"""A host: one process that keeps base models resident and trains many trials on them.

A plain class without any scheduler in it. Slots take turns: each `advance` trains one slot
for one rung while the others wait with their state kept.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import torch

from workers import collapse, combinations, data, measures
from workers.adapters import AdaptedBase, read_weights
from workers.data.sample import DataSet, Sample
from workers.evaluation import Evaluator, MakeScorer, scored_samples, started_scorer
from workers.features.frozen import vision_is_frozen
from workers.features.store import Store
from workers.metrics.scorer import Scorer
from workers.models import load_base
from workers.prompts import Asking
from workers.recipe import Data, Evaluate, Model, Recipe
from workers.report import Prediction, Report
from workers.slot import Slot
from workers.training import Examples, NonFiniteLossError

Group = tuple[Model, str]
"""Slots of one group share a base: the model with its revision and type, and quantization."""

Asked = tuple[Data, Evaluate, Asking]
"""What decides the scores of one adapter."""


@dataclass(kw_only=True)
class _Resident:
    """What the slots of one group share, loaded on first use."""

    adapted: AdaptedBase
    store: Store | None
    """Features of the base's images; None where they are not known."""
    # By what they read, too: the store of features, or None for pixels.
    examples: dict[tuple[Data, Asking, Store | None], Examples] = field(default_factory=dict)
    evaluators: dict[tuple[Asked, Store | None], Evaluator] = field(default_factory=dict)
    zero_shot: dict[Asked, Report] = field(default_factory=dict)

    def store_for(self, recipe: Recipe) -> Store | None:
        """Return the store if the recipe's adapter leaves the image encoder alone."""
        return self.store if vision_is_frozen(recipe.adapter, self.adapted.base) else None


class Host:
    """Admits trials to slots, advances them rung by rung, and lets them go.

    Args:
        device: where the bases live; None takes the first GPU, or the CPU.
        threads: threads of torch on the CPU; None leaves torch's own choice.
        make_scorer: makes the scorers; hosts of one node may share what is behind them.
    """

    def __init__(
        self,
        device: str | None = None,
        threads: int | None = None,
        make_scorer: MakeScorer = Scorer,
    ) -> None:
        self.device = torch.device(device or ("cuda:0" if torch.cuda.is_available() else "cpu"))
        if threads is not None:
            torch.set_num_threads(threads)
        self._make_scorer = make_scorer
        self._data: dict[Data, DataSet] = {}
        self._scorers: dict[tuple[Data, Evaluate], Scorer] = {}
        self._residents: dict[Group, _Resident] = {}
        self._slots: dict[str, Slot] = {}

    def admit(self, name: str, recipe: Recipe) -> Report:
        """Open a slot for a new trial and return rung 0: the base's own scores.

        With them comes what is known of the adapter before it is trained.
        Raises ValueError for a recipe that this host cannot train, naming the field.
        """
        for field_name, reason in combinations.flaws(recipe):
            raise ValueError(f"{field_name} {reason}")
        self._scorer(recipe)  # its Java process starts while the base loads
        resident = self._resident(recipe)
        slot = self._slots[name] = Slot.new(name, recipe, resident.adapted)
        baseline = self._zero_shot(resident, recipe)
        return replace(baseline, metrics={**baseline.metrics, **_adapter(slot)})

    def restore(self, name: str, recipe: Recipe, folder: Path) -> None:
        """Open a slot that goes on from a snapshot, bit-identically on a CPU."""
        resident = self._resident(recipe)
        self._slots[name] = Slot.restored(name, recipe, resident.adapted, folder)

    def graft(self, name: str, recipe: Recipe, folder: Path, rung: int) -> None:
        """Open a slot that begins with an adapter which was trained for `rung` epochs."""
        resident = self._resident(recipe)
        self._slots[name] = Slot.grafted(name, recipe, resident.adapted, folder, rung)

    def advance(self, name: str) -> Report:
        """Train the slot for one rung, score it, and report.

        Raises `workers.training.NonFiniteLossError` when the loss leaves the finite numbers,
        unless the guard is to stop such a trial: then the report says so.
        """
        slot, started = self._slot(name), time.monotonic()
        resident = self._resident(slot.recipe)
        examples = self._examples(resident, slot.recipe)
        measures.forget_peak_memory(self.device)
        try:
            loss = slot.train(examples)
        except NonFiniteLossError as error:
            if not slot.recipe.guard.stop:
                raise
            return _broken_off(slot, error, time.monotonic() - started)
        seconds = time.monotonic() - started
        report = self._evaluated(slot, self._evaluator(resident, slot.recipe), seconds)
        metrics = {
            "train/loss": loss,
            "train/epochs": float(slot.rung),
            "train/truncated_captions": float(examples.truncated),
            **_adapter(slot),
            **measures.peak_memory(self.device),
        }
        return replace(
            report,
            metrics={**report.metrics, **metrics},
            seconds=time.monotonic() - started,
        )

    def _evaluated(self, slot: Slot, evaluator: Evaluator, training: float) -> Report:
        """Return the report of a rung after its training, which took so many seconds.

        With loss, captions if they are due, and symptoms.
        """
        model, finished = slot.activate(), slot.rung >= slot.recipe.train.epochs
        evaluate, writing = slot.recipe.evaluate, list[float]()
        predictions: tuple[Prediction, ...] = ()
        scored = None
        if finished or slot.rung >= evaluate.from_rung:
            predictions = evaluator.predict(model, evaluate.beams, writing)
            scored = evaluator.score(predictions)
        loss = evaluator.loss(model)
        times = measures.times(training=training, writing=writing, batch_size=evaluate.batch_size)
        symptoms, collapsed = _examined(slot, predictions, loss)
        return Report(
            rung=slot.rung,
            metrics={**_named("val", scored.corpus if scored else {}), "val/loss": loss, **times},
            finished=finished,
            seconds=0.0,
            predictions=predictions,
            scored=scored,
            symptoms=symptoms,
            collapsed=collapsed,
        )

    def score(self, name: str, folder: Path) -> Report:
        """Score the adapter saved in `folder` as a finished trial's, as ``final/*``.

        With ``evaluate.final_beams`` on ``evaluate.final_limit`` images. The slot's own weights
        are put back afterwards.
        """
        slot, started = self._slot(name), time.monotonic()
        evaluator = self._evaluator(self._resident(slot.recipe), self._final(slot.recipe))
        model, own = slot.activate(), slot.adapted.weights(name)
        slot.adapted.load_weights(name, read_weights(folder))
        try:
            predictions = evaluator.predict(model, slot.recipe.evaluate.final_beams)
        finally:
            slot.adapted.load_weights(name, own)
        scored = evaluator.score(predictions)
        return Report(
            rung=slot.rung,
            metrics=_named("final", scored.corpus),
            finished=True,
            seconds=time.monotonic() - started,
            predictions=predictions,
            scored=scored,
        )

    def snapshot(self, name: str, folder: Path) -> None:
        """Write all that `restore` needs; complete only when this returns."""
        self._slot(name).snapshot(folder)

    def export(self, name: str, folder: Path) -> None:
        """Write the slot's adapter as plain peft loads it."""
        slot = self._slot(name)
        slot.adapted.save(name, folder, slot.recipe.model.base)

    def evict(self, name: str) -> None:
        """Close a slot; nothing of it stays. Closing an unknown one does nothing."""
        slot = self._slots.pop(name, None)
        if slot is not None:
            slot.adapted.detach(name)

    def data_set(self, recipe: Recipe) -> DataSet:
        """Return the recipe's data, loaded once per host."""
        if recipe.data not in self._data:
            self._data[recipe.data] = data.load(recipe.data)
        return self._data[recipe.data]

    def scored_samples(self, recipe: Recipe) -> tuple[Sample, ...]:
        """Return the validation images that the recipe's trials are scored on."""
        return scored_samples(self.data_set(recipe).splits["validation"], recipe.evaluate.limit)

    def final_samples(self, recipe: Recipe) -> tuple[Sample, ...]:
        """Return the validation images that finished trials are scored on in the end."""
        return self.scored_samples(self._final(recipe))

    def close(self) -> None:
        """Close all slots and release scorers and bases."""
        for name in list(self._slots):
            self.evict(name)
        for scorer in self._scorers.values():
            scorer.close()
        self._scorers.clear()
        self._residents.clear()

    def _slot(self, name: str) -> Slot:
        if name not in self._slots:
            raise KeyError(f"no slot {name!r} on this host; open are {sorted(self._slots)}")
        return self._slots[name]

    def _resident(self, recipe: Recipe) -> _Resident:
        group = (recipe.model, recipe.quantization)
        if group not in self._residents:
            base = load_base(recipe.model, recipe.quantization, self.device)
            self._residents[group] = _Resident(adapted=AdaptedBase(base), store=Store.of(base))
        return self._residents[group]

    def _examples(self, resident: _Resident, recipe: Recipe) -> Examples:
        asking, store = _asking(recipe), resident.store_for(recipe)
        key = (recipe.data, asking, store)
        if key not in resident.examples:
            samples = self.data_set(recipe).splits["train"]
            resident.examples[key] = Examples.of(resident.adapted.base, samples, asking, store)
        return resident.examples[key]

    def _evaluator(self, resident: _Resident, recipe: Recipe) -> Evaluator:
        store = resident.store_for(recipe)
        key = (_asked(recipe), store)
        if key not in resident.evaluators:
            resident.evaluators[key] = Evaluator(
                resident.adapted.base,
                self.scored_samples(recipe),
                self._scorer(recipe),
                recipe.evaluate,
                _asking(recipe),
                store,
            )
        return resident.evaluators[key]

    def _scorer(self, recipe: Recipe) -> Scorer:
        key = (recipe.data, recipe.evaluate)
        if key not in self._scorers:
            samples = self.scored_samples(recipe)
            whole = self.data_set(recipe).splits["validation"]
            self._scorers[key] = started_scorer(
                self._make_scorer, samples, recipe.evaluate.metrics, whole
            )
        return self._scorers[key]

    def _final(self, recipe: Recipe) -> Recipe:
        """Return the recipe by which a finished trial is scored."""
        limit = recipe.evaluate.final_limit
        evaluate = recipe.evaluate.model_copy(update={"limit": limit})
        final = recipe.model_copy(update={"evaluate": evaluate})
        # Equally many are the same ones: then one evaluator and its scorer do for both.
        same = len(self.scored_samples(final)) == len(self.scored_samples(recipe))
        return recipe if same else final

    def _zero_shot(self, resident: _Resident, recipe: Recipe) -> Report:
        key = _asked(recipe)
        if key not in resident.zero_shot:
            evaluator = self._evaluator(resident, recipe)
            resident.zero_shot[key] = _zero_shot_report(resident.adapted, evaluator, recipe)
        return resident.zero_shot[key]


def _adapter(slot: Slot) -> dict[str, float]:
    return measures.adapter(slot.adapted.parameters(slot.name))


def _zero_shot_report(adapted: AdaptedBase, evaluator: Evaluator, recipe: Recipe) -> Report:
    started = time.monotonic()
    with adapted.bare() as model:
        predictions: tuple[Prediction, ...] = evaluator.predict(model, recipe.evaluate.beams)
        loss = evaluator.loss(model)
    scored = evaluator.score(predictions)
    return Report(
        rung=0,
        metrics={**_named("val", scored.corpus), "val/loss": loss},
        finished=False,
        seconds=time.monotonic() - started,
        predictions=predictions,
        scored=scored,
    )


def _examined(
    slot: Slot, predictions: Sequence[Prediction], loss: float
) -> tuple[tuple[str, ...], bool]:
    """Return the symptoms of a rung and whether the guard stops the slot; it keeps the count."""
    guard, captions = slot.recipe.guard, [prediction.caption for prediction in predictions]
    broken = collapse.not_finite("val/loss", loss)
    symptoms = (*collapse.symptoms(captions, [p.references for p in predictions], guard), *broken)
    slot.ailing = slot.ailing + 1 if symptoms else 0
    return symptoms, guard.stop and (slot.ailing >= guard.rungs or bool(broken))


def _broken_off(slot: Slot, error: NonFiniteLossError, seconds: float) -> Report:
    """Return the report of a rung whose training the loss ended: there is nothing to score."""
    return Report(
        rung=slot.rung + 1,
        metrics={"train/loss": error.loss},
        finished=False,
        seconds=seconds,
        symptoms=(str(error),),
        collapsed=True,
    )


def _asking(recipe: Recipe) -> Asking:
    return Asking(task=recipe.task, prompt=recipe.prompt)


def _asked(recipe: Recipe) -> Asked:
    return recipe.data, recipe.evaluate, _asking(recipe)


def _named(prefix: str, scores: dict[str, float]) -> dict[str, float]:
    return {f"{prefix}/{key}": value for key, value in scores.items()}
