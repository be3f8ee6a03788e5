"""Reports of rungs: from a slot's training, its loss, its captions and their scores."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from workers import measures
from workers.evaluation import collapse
from workers.evaluation.evaluator import Evaluator
from workers.metrics.scorer import Scored
from workers.models.adapters import AdaptedBase
from workers.recipe import Recipe
from workers.report import Report
from workers.slots.protocol import TrainedEpoch, Trainer, TrialSlot, Written
from workers.training.loop import NonFiniteLossError


@dataclass(frozen=True, kw_only=True)
class Unscored:
    """A rung whose captions, if it has any, are still to be scored."""

    report: Report
    meter: measures.Meter
    """Continues to measure the rung."""
    prefix: str = "val"
    """Of the scores' keys in the report: ``val`` or ``final``."""

    def with_scores(self, scored: Scored | None) -> Report:
        """Return the complete report; `scored` is None for a rung without captions."""
        named = _named(self.prefix, scored)
        metrics, seconds = {**named, **self.report.metrics}, self.meter.seconds
        return replace(self.report, metrics=metrics, seconds=seconds, scored=scored)


def is_finished(slot: TrialSlot) -> bool:
    """Return whether the slot has done all its epochs."""
    return slot.rung >= slot.recipe.train.epochs


def beams(slot: TrialSlot) -> int | None:
    """Return the beams that the slot's rung is written with; None if it has no captions."""
    evaluate = slot.recipe.evaluate
    return evaluate.beams if is_finished(slot) or slot.rung >= evaluate.from_rung else None


def evaluate(
    trainer: Trainer, reached: Sequence[TrainedEpoch], evaluator: Evaluator
) -> list[Unscored]:
    """Evaluate slots that are scored alike, up to the scores of their captions."""
    slots = [trained.slot for trained in reached]
    names, width = [slot.name for slot in slots], beams(slots[0])
    written: Sequence[Written | None] = [None] * len(names)
    with measures.shared([trained.meter for trained in reached]):
        if width is not None:
            written = trainer.predict(names, evaluator, width)
        losses = trainer.losses(names, evaluator)
    return [_unscored(*each) for each in zip(reached, losses, written, strict=True)]


def _unscored(trained: TrainedEpoch, loss: float, written: Written | None) -> Unscored:
    """Report a rung without its scores; the slot counts its unhealthy ones."""
    slot, guard = trained.slot, trained.slot.recipe.guard
    predictions = written.predictions if written else ()
    captions = [prediction.caption for prediction in predictions]
    broken = collapse.not_finite("val/loss", loss)
    references = [prediction.references for prediction in predictions]
    symptoms = (*collapse.symptoms(captions, references, guard), *broken)
    slot.unhealthy_rungs = slot.unhealthy_rungs + 1 if symptoms else 0
    report = Report(
        rung=slot.rung,
        metrics={
            "val/loss": loss,
            **measures.times(
                training=trained.seconds,
                writing=written.seconds if written else (),
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
        symptoms=symptoms,
        image_waits=trained.image_waits,
        collapsed=guard.stop and (slot.unhealthy_rungs >= guard.rungs or bool(broken)),
    )
    return Unscored(report=report, meter=trained.meter)


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


def evaluate_saved(
    trainer: Trainer,
    slots: Sequence[TrialSlot],
    folders: Mapping[str, Path],
    evaluator: Evaluator,
    device: torch.device,
) -> list[Unscored]:
    """Write captions with the adapters saved in `folders`, by slot, as finished trials'."""
    meters = [measures.Meter(device) for _ in slots]
    with measures.shared(meters):
        width = slots[0].recipe.evaluate.final_beams
        written = trainer.predict_saved(folders, evaluator, width)
    return [
        Unscored(
            report=Report(
                rung=slot.rung,
                metrics={},
                finished=True,
                seconds=meter.seconds,
                predictions=predictions,
            ),
            meter=meter,
            prefix="final",
        )
        for slot, meter, predictions in zip(slots, meters, written, strict=True)
    ]


def zero_shot(
    adapted: AdaptedBase, evaluator: Evaluator, recipe: Recipe, at_once: int | None
) -> Report:
    """Return rung 0 of every trial with such a recipe: the base's own scores.

    `at_once` is as in `Evaluator.predict`.
    """
    started = time.monotonic()
    with adapted.bare() as model:
        (predictions,) = evaluator.predict(model, recipe.evaluate.beams, at_once=at_once)
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
