"""What is reported of a rung: from a slot's training, its loss, its captions and their scores."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from workers import collapse, measures
from workers.adapters import AdaptedBase, read_weights
from workers.evaluation import Evaluator
from workers.metrics.scorer import Scored
from workers.recipe import Recipe
from workers.report import Prediction, Report
from workers.slot import Slot
from workers.training import NonFiniteLossError
from workers.turns import Trained


@dataclass(frozen=True, kw_only=True)
class Evaluated:
    """What a slot's adapter is worth at its rung."""

    loss: float
    predictions: tuple[Prediction, ...] = ()
    """None where no captions are due."""
    scored: Scored | None = None
    """Of the predictions."""
    writing: Sequence[float] = ()
    """Each image's share of the seconds that its captions' batch took."""


def captions_due(slot: Slot) -> bool:
    """Tell whether the slot's rung is one with captions."""
    return is_finished(slot) or slot.rung >= slot.recipe.evaluate.from_rung


def is_finished(slot: Slot) -> bool:
    """Tell whether the slot has done all its epochs."""
    return slot.rung >= slot.recipe.train.epochs


def evaluated(slot: Slot, evaluator: Evaluator) -> Evaluated:
    """Evaluate one slot alone."""
    model, writing = slot.activate(), list[float]()
    predictions: tuple[Prediction, ...] = ()
    scored = None
    if captions_due(slot):
        predictions = evaluator.predict(model, slot.recipe.evaluate.beams, writing)
        scored = evaluator.score(predictions)
    loss = evaluator.loss(model)
    return Evaluated(loss=loss, predictions=predictions, scored=scored, writing=writing)


def report(trained: Trained, found: Evaluated) -> Report:
    """Return what is told of a rung that was trained and evaluated."""
    slot = trained.slot
    symptoms, collapsed = _examined(slot, found)
    times = measures.times(
        training=trained.seconds,
        writing=found.writing,
        batch_size=slot.recipe.evaluate.batch_size,
    )
    return Report(
        rung=slot.rung,
        metrics={
            **_named("val", found.scored.corpus if found.scored else {}),
            "val/loss": found.loss,
            **times,
            "train/loss": trained.loss,
            "train/epochs": float(slot.rung),
            "train/truncated_captions": float(trained.truncated),
            **adapter(slot),
            **trained.meter.peak_memory,
        },
        finished=is_finished(slot),
        seconds=trained.meter.seconds,
        predictions=found.predictions,
        scored=found.scored,
        symptoms=symptoms,
        collapsed=collapsed,
    )


def broken_off(trained: Trained, error: Exception) -> Report:
    """Return the report of a rung whose training the loss ended: there is nothing to score.

    Raises any other error, and this one, too, unless the guard is to stop such a trial.
    """
    if not isinstance(error, NonFiniteLossError) or not trained.slot.recipe.guard.stop:
        raise error
    return Report(
        rung=trained.slot.rung + 1,
        metrics={"train/loss": error.loss},
        finished=False,
        seconds=trained.seconds,
        symptoms=(str(error),),
        collapsed=True,
    )


def final(slot: Slot, evaluator: Evaluator, folder: Path) -> Report:
    """Score the adapter saved in `folder` as a finished trial's, as ``final/*``.

    The slot's own weights are put back afterwards.
    """
    started = time.monotonic()
    model, own = slot.activate(), slot.adapted.weights(slot.name)
    slot.adapted.load_weights(slot.name, read_weights(folder))
    try:
        predictions = evaluator.predict(model, slot.recipe.evaluate.final_beams)
    finally:
        slot.adapted.load_weights(slot.name, own)
    scored = evaluator.score(predictions)
    return Report(
        rung=slot.rung,
        metrics=_named("final", scored.corpus),
        finished=True,
        seconds=time.monotonic() - started,
        predictions=predictions,
        scored=scored,
    )


def zero_shot(adapted: AdaptedBase, evaluator: Evaluator, recipe: Recipe) -> Report:
    """Return rung 0 of every trial with such a recipe: the base's own scores."""
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


def adapter(slot: Slot) -> dict[str, float]:
    """Return what is known of a slot's adapter before it is trained."""
    return measures.adapter(slot.adapted.parameters(slot.name))


def _examined(slot: Slot, found: Evaluated) -> tuple[tuple[str, ...], bool]:
    """Return the symptoms of a rung and whether the guard stops the slot; it keeps the count."""
    guard, predictions = slot.recipe.guard, found.predictions
    captions = [prediction.caption for prediction in predictions]
    broken = collapse.not_finite("val/loss", found.loss)
    symptoms = (*collapse.symptoms(captions, [p.references for p in predictions], guard), *broken)
    slot.ailing = slot.ailing + 1 if symptoms else 0
    return symptoms, guard.stop and (slot.ailing >= guard.rungs or bool(broken))


def _named(prefix: str, scores: Mapping[str, float]) -> dict[str, float]:
    return {f"{prefix}/{key}": value for key, value in scores.items()}
