"""A trial's run, as its host writes it: parameters, rungs, examples, predictions."""

import json
import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from sweeps import scores_file
from sweeps.examples import captioned, thumbnail
from sweeps.inputs import data_inputs, eval_tags, final_tags
from sweeps.scores_file import Scores
from sweeps.tracking import (
    Tracking,
    find_trials,
    log_metrics,
    log_params,
    now,
    open_run,
    set_tags,
    user,
)
from workers.data.sample import DataSet, Sample
from workers.measures import PREFIX
from workers.recipe import Data
from workers.report import Prediction, Report

Ending = Literal["completed", "stopped", "failed", "failed-by-guard", "interrupted"]
"""The ways in which a trial or a sweep ends."""
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
_SECONDS = "time/rung_seconds"  # in every report, so it tells which rungs are stored
_ERROR_TAG_CHARACTERS = 5000  # MLflow cuts a tag's end off at 8000, where the cause stands
_THUMBNAILS = 8  # rows of the predictions table that show their image


@dataclass(frozen=True, kw_only=True)
class TrialRun:
    """The child run of one trial."""

    run_id: str
    client: Any = field(repr=False)

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
        client = tracking.client()
        parent = client.get_run(parent_run_id)
        experiment_id = parent.info.experiment_id
        found = find_trials(client, experiment_id, parent_run_id, f"tags.`trial.id` = '{trial_id}'")
        own = {
            "mlflow.parentRunId": parent_run_id,
            "mlflow.user": user(),
            "mlflow.source.name": "sweeps",
            "sweep.id": parent.data.tags["sweep.id"],
            "trial.id": trial_id,
            "trial.state": "running",
        }
        run = found[0] if found else None
        run_id = open_run(client, experiment_id, run, name, {**tags, **own})
        for tag in (_ERROR, _GUARD):
            if run and tag in run.data.tags:
                client.delete_tag(run_id, tag)
        log_params(client, run_id, with_log10(params, logarithmic))
        return cls(run_id=run_id, client=client)

    def inputs(self, data: Data, data_set: DataSet, scored: Sequence[Sample]) -> None:
        """Record by digest on which images the trial is trained, and on which it is `scored`."""
        self.client.log_inputs(self.run_id, data_inputs(data, data_set, scored))
        set_tags(self.client, self.run_id, eval_tags(scored))

    def report(self, report: Report, objective: str) -> None:
        """Log a rung's metrics at the step `report.rung`, and its symptoms as a tag.

        A rung that is already stored (its trial was retried from an older snapshot) stays as
        it is. The objective (``cider``) comes first: MLflow's comparison page opens with the
        metric that was logged first.
        """
        stored = self.client.get_metric_history(self.run_id, _SECONDS)
        if any(metric.step == report.rung for metric in stored):
            return
        first = f"val/{objective}"
        ordered = dict(sorted(report.metrics.items(), key=lambda item: item[0] != first))
        metrics = {**ordered, _SECONDS: report.seconds}
        log_metrics(self.client, self.run_id, metrics, step=report.rung)
        if report.symptoms:
            set_tags(self.client, self.run_id, {_SYMPTOMS: report.diagnosis})

    def best(self, metrics: Mapping[str, float], rung: int) -> None:
        """Log the metrics (``val/cider``) of the best rung so far as ``best/cider``.

        May be called again when a later rung is better; one and the same rung counts once.
        """
        logged = self.client.get_run(self.run_id).data.metrics
        if logged.get("best/rung") != rung:
            log_metrics(self.client, self.run_id, {**best_keys(metrics), "best/rung": rung}, step=0)

    def violates(self, limits: str | None) -> None:
        """Say by a tag which limits of the search the trial violates, or that it keeps them."""
        tagged = self.client.get_run(self.run_id).data.tags.get(_VIOLATES)
        if limits:
            set_tags(self.client, self.run_id, {_VIOLATES: limits})
        elif tagged:
            self.client.delete_tag(self.run_id, _VIOLATES)

    def images(self, samples: Sequence[Sample], captions: Sequence[str], step: int) -> None:
        """Log a few images, each with the caption written under it, as ``examples/<n>``.

        A step that is already stored stays as it is.
        """
        stored = {artifact.path for artifact in self.client.list_artifacts(self.run_id, "images")}
        for number, (sample, caption) in enumerate(zip(samples, captions, strict=True)):
            if any(path.startswith(f"images/examples~{number}+step+{step}+") for path in stored):
                continue
            self.client.log_image(
                self.run_id,
                captioned(sample.open(), caption),
                key=f"examples/{number}",
                step=step,
                synchronous=True,  # asynchronous images are lost when the process is killed
            )

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
        self.client.log_dict(self.run_id, table, PREDICTIONS)
        shown_as = json.dumps([{"path": PREDICTIONS, "type": "table"}])
        self.client.set_tag(self.run_id, "mlflow.loggedArtifacts", shown_as)

    def final_images(self, scored: Sequence[Sample]) -> None:
        """Record on which images ``final/*`` was taken, where they are others than the rungs'."""
        set_tags(self.client, self.run_id, final_tags(scored))

    def scores(self, scores: Scores) -> None:
        """Write scores and statistics per image, in place of earlier ones."""
        self.client.log_text(self.run_id, scores_file.dump(scores), scores_file.SCORES)

    def end(self, state: Ending, reason: str | None = None) -> None:
        """End the run with the state, and with the error or the guard's words when it failed."""
        tags = {"trial.state": str(state)}
        if reason and state == "failed-by-guard":
            tags[_GUARD] = reason
        elif reason:
            tags[_ERROR] = reason[-_ERROR_TAG_CHARACTERS:]
            self.client.log_text(self.run_id, reason, "error.txt")
        set_tags(self.client, self.run_id, tags)
        self.client.set_terminated(self.run_id, STATUS[state], now())

    def _thumbnail(self, number: int, sample: Sample) -> dict[str, str]:
        """Store a small image for a row of the table; return the cell that shows it."""
        path = f"table_images/eval/predictions/{number}.png"
        self.client.log_image(self.run_id, thumbnail(sample.open()), artifact_file=path)
        return {"type": "image", "filepath": path, "compressed_filepath": path}


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
