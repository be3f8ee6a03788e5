"""Reports of rungs: from a slot's training, its loss, its captions and their scores."""

import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from workers import measures
from workers.evaluation import collapse
from workers.evaluation.evaluator import Evaluator
from workers.metrics.scorer import Scored
from workers.models.adapters import AdaptedBase
from workers.recipe import Recipe
from workers.report import Report
from workers.slots.protocol import TrainedEpoch, Trainer, TrialSlot, Written
from workers.training.loop import NonFiniteLossError


def is_finished(slot: TrialSlot) -> bool:
    """Return whether the slot has done all its epochs."""
    return slot.rung >= slot.recipe.train.epochs


def beams(slot: TrialSlot) -> int | None:
    """Return the beams that the slot's rung is written with; None if it has no captions."""
    evaluate = slot.recipe.evaluate
    return evaluate.beams if is_finished(slot) or slot.rung >= evaluate.from_rung else None


def reports(
    trainer: Trainer, reached: Sequence[TrainedEpoch], evaluator: Evaluator
) -> list[Report]:
    """Evaluate slots that are scored alike, and report their rungs."""
    slots = [trained.slot for trained in reached]
    names, width = [slot.name for slot in slots], beams(slots[0])
    written: Sequence[Written | None] = [None] * len(names)
    scored: Sequence[Scored | None] = [None] * len(names)
    with measures.shared([trained.meter for trained in reached]):
        if width is not None:
            written = trainer.predict(names, evaluator, width)
        losses = trainer.losses(names, evaluator)
        if width is not None:
            scored = evaluator.score_each([own.predictions for own in written if own])
    return [_report(*each) for each in zip(reached, losses, written, scored, strict=True)]


def _report(
    trained: TrainedEpoch, loss: float, written: Written | None, scored: Scored | None
) -> Report:
    """Report a rung; the slot counts its unhealthy ones."""
    slot, guard = trained.slot, trained.slot.recipe.guard
    predictions = written.predictions if written else ()
    captions = [prediction.caption for prediction in predictions]
    broken = collapse.not_finite("val/loss", loss)
    references = [prediction.references for prediction in predictions]
    symptoms = (*collapse.symptoms(captions, references, guard), *broken)
    slot.unhealthy_rungs = slot.unhealthy_rungs + 1 if symptoms else 0
    return Report(
        rung=slot.rung,
        metrics={
            **_named("val", scored),
            "val/loss": loss,
            **measures.times(
                training=trained.seconds,
                writing=written.seconds if written else (),
                batch_size=slot.recipe.evaluate.batch_size,
            ),
            "train/loss": trained.loss,
            "train/epochs": float(slot.rung),
            "train/truncated_captions": float(trained.truncated),
            **measures.adapter(slot.weights()),
            **trained.meter.peak_memory,
        },
        finished=is_finished(slot),
        seconds=trained.meter.seconds,
        predictions=predictions,
        scored=scored,
        symptoms=symptoms,
        image_waits=trained.image_waits,
        collapsed=guard.stop and (slot.unhealthy_rungs >= guard.rungs or bool(broken)),
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
    trainer: Trainer, slots: Sequence[TrialSlot], folders: Mapping[str, Path], evaluator: Evaluator
) -> list[Report]:
    """Score the adapters saved in `folders`, by slot, as finished trials', as ``final/*``."""
    started = time.monotonic()
    written = trainer.predict_saved(folders, evaluator, slots[0].recipe.evaluate.final_beams)
    seconds = (time.monotonic() - started) / len(slots)
    scores = evaluator.score_each(written)
    return [
        Report(
            rung=slot.rung,
            metrics=_named("final", scored),
            finished=True,
            seconds=seconds,
            predictions=predictions,
            scored=scored,
        )
        for slot, predictions, scored in zip(slots, written, scores, strict=True)
    ]


def zero_shot(adapted: AdaptedBase, evaluator: Evaluator, recipe: Recipe) -> Report:
    """Return rung 0 of every trial with such a recipe: the base's own scores."""
    started = time.monotonic()
    with adapted.bare() as model:
        (predictions,) = evaluator.predict(model, recipe.evaluate.beams)
        loss = evaluator.loss(model)
    (scored,) = evaluator.score_each([predictions])
    return Report(
        rung=0,
        metrics={**_named("val", scored), "val/loss": loss},
        finished=False,
        seconds=time.monotonic() - started,
        predictions=predictions,
        scored=scored,
    )


def _named(prefix: str, scored: Scored | None) -> dict[str, float]:
    return {f"{prefix}/{key}": value for key, value in scored.corpus.items()} if scored else {}
