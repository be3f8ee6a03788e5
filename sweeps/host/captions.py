"""The captions of a trial, put on its record: a table of them, and examples."""

from typing import TYPE_CHECKING

from sweeps.host.trial import OpenTrial
from sweeps.tracking.trial_run import EXAMPLE_IMAGES
from workers.report import Prediction

if TYPE_CHECKING:
    from workers.data.sample import Sample
    from workers.host.host import Host


def log_predictions(host: "Host", trial: OpenTrial, *, may_wait: bool) -> None:
    """Write the captions of a trial that leaves its slot; `may_wait`: it may come back."""
    if not trial.predictions:
        return
    trial.record.log_predictions(trial.predictions, _samples(host, trial))
    # Examples are stored once: those of a trial that only waits would stay for ever.
    if trial.is_over or not may_wait:
        log_examples(host, trial, trial.predictions, step=trial.recipe.train.epochs)


def log_examples(
    host: "Host", trial: OpenTrial, predictions: tuple[Prediction, ...], step: int
) -> None:
    """Write the first images with their captions."""
    captions = {prediction.image_id: prediction.caption for prediction in predictions}
    samples = [
        sample
        for sample in host.scored_samples(trial.recipe)[:EXAMPLE_IMAGES]
        if sample.id in captions
    ]
    trial.record.log_examples(samples, [captions[sample.id] for sample in samples], step)


def _samples(host: "Host", trial: OpenTrial) -> "list[Sample]":
    """Return the images of the trial's captions: those of a rung, or of the last scoring."""
    validation = host.data_set(trial.recipe).splits["validation"]
    by_id = {sample.id: sample for sample in validation}
    return [by_id[prediction.image_id] for prediction in trial.predictions]
