"""What is reported of a rung: from a slot's training, its loss, its captions and their scores."""

import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from workers import measures
from workers.evaluation import collapse
from workers.evaluation.evaluator import Evaluator
from workers.metrics.scorer import Scored
from workers.models.adapters import AdaptedBase
from workers.recipe import Recipe
from workers.report import Prediction, Report
from workers.slots.protocol import Evaluated, TrainedEpoch, Trainer, TrialSlot, Written
from workers.training.loop import NonFiniteLossError


def captions_due(slot: TrialSlot) -> bool:
    """Tell whether the slot's rung is one with captions."""
    return is_finished(slot) or slot.rung >= slot.recipe.evaluate.from_rung


def is_finished(slot: TrialSlot) -> bool:
    """Tell whether the slot has done all its epochs."""
    return slot.rung >= slot.recipe.train.epochs


def evaluated(
    trainer: Trainer, slots: Sequence[TrialSlot], evaluator: Evaluator, beams: int | None
) -> list[Evaluated]:
    """Evaluate slots that are scored alike: with so many beams, or None without captions."""
    names = [slot.name for slot in slots]
    written: Sequence[Written | None] = [None] * len(names)
    if beams is not None:
        written = trainer.predict(names, evaluator, beams)
    losses = trainer.losses(names, evaluator)
    scored: Sequence[Scored | None] = [None] * len(names)
    if beams is not None:
        scored = evaluator.score_each([own.predictions for own in written if own])
    return [_evaluated(*each) for each in zip(written, scored, losses, strict=True)]


def beams(slot: TrialSlot) -> int | None:
    """Return the beams that the slot's rung is written with; None if it has no captions."""
    return slot.recipe.evaluate.beams if captions_due(slot) else None


def report(trained: TrainedEpoch, found: Evaluated) -> Report:
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


def broken_off(trained: TrainedEpoch, error: Exception) -> Report:
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


def finals(
    trainer: Trainer,
    slots: Sequence[TrialSlot],
    folders: Mapping[str, Path],
    evaluator: Evaluator,
) -> list[Report]:
    """Score the adapters saved in `folders`, by slot, as finished trials', as ``final/*``."""
    started = time.monotonic()
    written = trainer.predict_saved(folders, evaluator, slots[0].recipe.evaluate.final_beams)
    seconds = (time.monotonic() - started) / len(slots)
    return [
        _final(slot, predictions, scored, seconds)
        for slot, predictions, scored in zip(
            slots, written, evaluator.score_each(written), strict=True
        )
    ]


def zero_shot(adapted: AdaptedBase, evaluator: Evaluator, recipe: Recipe) -> Report:
    """Return rung 0 of every trial with such a recipe: the base's own scores."""
    started = time.monotonic()
    with adapted.bare() as model:
        (predictions,) = evaluator.predict(model, recipe.evaluate.beams)
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


def adapter(slot: TrialSlot) -> dict[str, float]:
    """Return what is known of a slot's adapter before it is trained."""
    return measures.adapter(slot.weights())


def _evaluated(written: Written | None, scored: Scored | None, loss: float) -> Evaluated:
    if written is None:
        return Evaluated(loss=loss)
    return Evaluated(
        loss=loss, predictions=written.predictions, scored=scored, writing=written.seconds
    )


def _final(
    slot: TrialSlot, predictions: tuple[Prediction, ...], scored: Scored, seconds: float
) -> Report:
    return Report(
        rung=slot.rung,
        metrics=_named("final", scored.corpus),
        finished=True,
        seconds=seconds,
        predictions=predictions,
        scored=scored,
    )


def _examined(slot: TrialSlot, found: Evaluated) -> tuple[tuple[str, ...], bool]:
    """Return the symptoms of a rung and whether the guard stops the slot; it keeps the count."""
    guard, predictions = slot.recipe.guard, found.predictions
    captions = [prediction.caption for prediction in predictions]
    broken = collapse.not_finite("val/loss", found.loss)
    symptoms = (*collapse.symptoms(captions, [p.references for p in predictions], guard), *broken)
    slot.unhealthy_rungs = slot.unhealthy_rungs + 1 if symptoms else 0
    return symptoms, guard.stop and (slot.unhealthy_rungs >= guard.rungs or bool(broken))


def _named(prefix: str, scores: Mapping[str, float]) -> dict[str, float]:
    return {f"{prefix}/{key}": value for key, value in scores.items()}
