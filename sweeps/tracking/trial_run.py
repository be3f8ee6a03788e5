"""A trial's run, as its host writes it: parameters, rungs, examples, predictions."""

import json
import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sweeps.results import scores_file
from sweeps.results.best import Best
from sweeps.results.pictures import captioned, thumbnail
from sweeps.results.scores_file import Scores
from sweeps.tracking import entries
from sweeps.tracking.client import Tracking
from sweeps.tracking.connection import AwayError
from sweeps.tracking.inputs import data_inputs, eval_tags, final_tags
from sweeps.tracking.outbox import Outbox, of_trial
from sweeps.tracking.stored import BEST_RUNG, RUNG_SECONDS
from sweeps.trial import Ending
from workers.data.sample import DataSet, Sample
from workers.measures import PREFIX
from workers.recipe import Data
from workers.redaction import redact
from workers.report import Prediction, Report

EXAMPLE_IMAGES = 2
"""Validation images whose captions are shown at rung 0 and at a trial's end."""


STATUS: Mapping[Ending, str] = {
    "completed": "FINISHED",
    "stopped": "KILLED",
    "failed": "FAILED",
    "failed-by-guard": "FAILED",
    "interrupted": "KILLED",
}
"""MLflow's run status for each of them."""

PREDICTIONS = "eval/predictions.json"
"""The same name in every trial: MLflow compares tables of one name side by side."""

_ERROR, _GUARD, _SYMPTOMS = "trial.error", "trial.guard", "trial.symptoms"
_VIOLATES = "trial.violates"
_PACKED = "trial.packed"
_ERROR_TAG_CHARACTERS = 5000  # MLflow cuts a tag's end off at 8000, where the cause stands
_THUMBNAILS = 8  # rows of the predictions table that show their image


@dataclass(frozen=True, kw_only=True)
class TrialRun:
    """The child run of one trial. What MLflow cannot be told now waits in its outbox."""

    outbox: Outbox

    @property
    def client(self) -> Any:
        """An `MlflowClient`, to read with."""
        return self.outbox.client

    @property
    def run_id(self) -> str:
        """The run's id; empty as long as MLflow was away since the trial began."""
        return self.outbox.run.run_id or ""

    @classmethod
    def open(
        cls,
        tracking: Tracking,
        parent_run_id: str,
        trial_id: str,
        name: str,
        *,
        params: Mapping[str, Any],
        logarithmic: Collection[str] = (),
        tags: Mapping[str, str],
    ) -> "TrialRun":
        """Return the trial's run: made, or found and set running again when it is retried.

        `params` is what varies between the trials, plus seed and base model. Those named in
        `logarithmic` are logged a second time as ``<name>_log10``, because MLflow's axes are
        linear. `tags` say where it runs (``worker``, ``host``).
        """
        outbox = of_trial(tracking, parent_run_id, trial_id)
        every = {**tags, "trial.id": trial_id, "trial.state": "running"}
        outbox.put(entries.opened(name, every, with_log10(params, logarithmic)))
        return cls(outbox=outbox)

    def inputs(self, data: Data, data_set: DataSet, scored: Sequence[Sample]) -> None:
        """Record by digest on which images the trial is trained, and on which it is `scored`."""
        self.outbox.put(entries.inputs(data_inputs(data, data_set, scored)))
        self.outbox.put(entries.batch(tags=eval_tags(scored)))

    def packed(self, why_not_packed: str | None) -> None:
        """Say by a tag whether the trial trains in a pack, or why it trains alone."""
        told = f"no: {why_not_packed}" if why_not_packed else "yes"
        self.outbox.put(entries.batch(tags={_PACKED: told}))

    def report(self, report: Report, objective: str, best: Best | None = None) -> None:
        """Log a rung's metrics at the step `report.rung` in one write, its symptoms as a tag.

        With them goes the best rung so far. A rung that is already stored (its trial was retried
        from an older snapshot) stays as it is. The objective (``cider``) comes first: MLflow's
        comparison page opens with the metric that was logged first.
        """
        first = f"val/{objective}"
        ordered = dict(sorted(report.metrics.items(), key=lambda item: item[0] != first))
        self.outbox.put(
            entries.batch(
                {**ordered, RUNG_SECONDS: report.seconds},
                {_SYMPTOMS: report.diagnosis} if report.symptoms else {},
                rung=report.rung,
                best=_best_metrics(best.metrics, best.rung) if best else {},
            )
        )

    def best(self, metrics: Mapping[str, float], rung: int) -> None:
        """Log the metrics (``val/cider``) of the best rung so far as ``best/cider``.

        May be called again when a later rung is better; one and the same rung counts once.
        """
        self.outbox.put(entries.batch(best=_best_metrics(metrics, rung)))

    def violates(self, limits: str | None) -> None:
        """Say by a tag which limits of the search the trial violates, or that it keeps them."""
        told = self.outbox.run.stored
        unknown = told is None or not self.outbox.file.is_empty
        tagged = told.tags.get(_VIOLATES) if told else None
        if limits and (unknown or tagged != limits):
            self.outbox.put(entries.batch(tags={_VIOLATES: limits}))
        elif not limits and (unknown or tagged):
            self.outbox.put(entries.untag(_VIOLATES))

    def images(self, samples: Sequence[Sample], captions: Sequence[str], step: int) -> None:
        """Log a few images, each with the caption written under it, as ``examples/<n>``.

        A step that is already stored stays as it is.
        """
        for number, (sample, caption) in enumerate(zip(samples, captions, strict=True)):
            picture = captioned(sample.open(), caption)
            self.outbox.put(entries.image(f"examples/{number}", step, picture))

    def predictions(self, predictions: Sequence[Prediction], samples: Sequence[Sample]) -> None:
        """Write the table of predictions, in place of an earlier one.

        The first rows show their image, taken from `samples`, which are in the same order.
        Not by `log_table`, which appends to the table of an earlier attempt.
        """
        shown = [self._thumbnail(n, sample) for n, sample in enumerate(samples[:_THUMBNAILS])]
        images = shown + [None] * (len(predictions) - len(shown))
        rows = [
            [prediction.image_id, image, prediction.caption, " | ".join(prediction.references)]
            for prediction, image in zip(predictions, images, strict=True)
        ]
        table = {"columns": ["image_id", "image", "caption", "references"], "data": rows}
        self.outbox.put(entries.artifact(PREDICTIONS, json.dumps(table)))
        shown_as = json.dumps([{"path": PREDICTIONS, "type": "table"}])
        self.outbox.put(entries.batch(tags={"mlflow.loggedArtifacts": shown_as}))

    def final_images(self, scored: Sequence[Sample]) -> None:
        """Record on which images ``final/*`` was taken, where they are others than the rungs'."""
        self.outbox.put(entries.batch(tags=final_tags(scored)))

    def scores(self, scores: Scores) -> None:
        """Write scores and statistics per image, in place of earlier ones."""
        self.outbox.put(entries.artifact(scores_file.SCORES, scores_file.dump(scores)))

    def kept_scores(self) -> Scores | None:
        """Return the scores that were written last; None where there are none or nobody knows."""
        waiting = [
            each
            for each in self.outbox.file.pending()
            if each.kind == "artifact" and each.values["path"] == scores_file.SCORES
        ]
        if waiting:
            return scores_file.parse(entries.content(waiting[-1]).decode())
        try:
            return self.outbox.line.attempt(self._stored_scores)
        except AwayError:
            return None

    def _stored_scores(self, client: Any) -> Scores | None:
        found = self.outbox.run.find(client)
        return scores_file.read(client, found.info.run_id) if found else None

    def end(self, state: Ending, reason: str | None = None, *, once: bool = False) -> None:
        """End the run with the state, and with the error or the guard's words when it failed.

        With `once`, a run that has ended stays as it is.
        """
        tags, error = {"trial.state": str(state)}, None
        reason = redact(reason or "")  # whole: of a cut secret the rest would stay
        if reason and state == "failed-by-guard":
            tags[_GUARD] = reason
        elif reason:
            tags[_ERROR], error = reason[-_ERROR_TAG_CHARACTERS:], reason
        self.outbox.put(entries.ended(STATUS[state], tags, error, once=once))

    def _thumbnail(self, number: int, sample: Sample) -> dict[str, str]:
        """Store a small image for a row of the table; return the cell that shows it."""
        path = f"table_images/eval/predictions/{number}.png"
        self.outbox.put(entries.artifact(path, entries.png(thumbnail(sample.open()))))
        return {"type": "image", "filepath": path, "compressed_filepath": path}


def _best_metrics(metrics: Mapping[str, float], rung: int) -> dict[str, float]:
    return {**best_keys(metrics), BEST_RUNG: rung}


def best_keys(metrics: Mapping[str, float]) -> dict[str, float]:
    """Return scores and measures under ``best/``: ``val/cider`` becomes ``best/cider``."""
    return {
        f"best/{key.removeprefix(prefix)}": value
        for key, value in metrics.items()
        for prefix in ("val/", PREFIX)
        if key.startswith(prefix)
    }


def with_log10(params: Mapping[str, Any], logarithmic: Collection[str]) -> dict[str, str]:
    """Return `params` as text, with ``<name>_log10`` beside each one in `logarithmic`."""
    logs = {
        f"{name}_log10": f"{math.log10(params[name]):.4f}" for name in logarithmic if name in params
    }
    return {**{name: str(value) for name, value in params.items()}, **logs}
