"""What a host puts on a trial's record for MLflow to show: pictures, tables and scores as files.

The host itself never reaches MLflow. The files lie below ``artifacts/`` of the trial's folder, by
their paths among the artifacts of its run.
"""

import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from PIL import Image

from sweeps.results import record, scores_file
from sweeps.results.best import Best
from sweeps.results.folder import SweepFolder
from sweeps.results.pictures import captioned, thumbnail
from sweeps.results.scores_file import Scores
from sweeps.rung_result import RungResult
from sweeps.tracking.trial_run import PREDICTIONS, best_metrics, data_inputs, eval_tags
from workers.data.sample import DataSet, Sample
from workers.recipe import Data
from workers.redaction import redact
from workers.report import Prediction, Report

_THUMBNAILS = 8  # rows of the predictions table that show their image


@dataclass(frozen=True, kw_only=True)
class TrialRecord:
    """The record of one trial, as the host writes it that trains the trial."""

    folder: SweepFolder
    trial: str
    _with_next_rung: dict[str, Any] = field(default_factory=dict, init=False, repr=False)
    """What MLflow is to show with the next rung on record."""

    def opened(
        self, name: str, params: Mapping[str, str], tags: Mapping[str, str],
        segments: Sequence[Mapping[str, Any]] = (),
    ) -> None:  # fmt: skip
        """Put on record that a host takes the trial up; of `params` MLflow keeps the first ones.

        `segments` are those of `sweeps.tracking.trial_run.segment_runs`.
        """
        record.append_event(
            self.folder.record(self.trial), "opened", format=record.FORMAT, name=name,
            params=_redacted(params), tags=_redacted(tags), segments=list(segments),
        )  # fmt: skip

    def log(self, **logged: Any) -> None:
        """Put on record what MLflow is to show, by the names of `sweeps.tracking.projection`."""
        record.append_event(self.folder.record(self.trial), "logged", logged=logged)

    def log_data(self, data: Data, data_set: DataSet, scored: Sequence[Sample]) -> None:
        """Say by digest on which images the trial is trained, and on which it is `scored`."""
        tags = eval_tags(scored)
        self.log(inputs=data_inputs(data, data_set, scored), tags=tags, sweep_tags=tags)

    def log_baseline(self, report: Report, objective: str) -> None:
        """Put rung 0, the base before training, on record; it is no rung that was trained."""
        self.log(
            rung=report.rung, metrics=objective_first(report.metrics, objective),
            seconds=report.seconds, symptoms=list(report.symptoms),
        )  # fmt: skip

    def log_best(self, best: Best) -> None:
        """Say which rung is the best so far."""
        self.log(best=best_metrics(best.metrics, best.rung))

    def log_rung(self, result: RungResult, best: Best | None) -> None:
        """Put a trained rung on record, with the best one so far and what came with the rung."""
        more = {"best": best_metrics(best.metrics, best.rung)} if best else {}
        record.append(self.folder, self.trial, result, {**self._with_next_rung, **more})
        self._with_next_rung.clear()

    def log_examples(self, samples: Sequence[Sample], captions: Sequence[str], step: int) -> None:
        """Show a few images, each with the caption written under it; the first of a step stay."""
        images = []
        for number, (sample, caption) in enumerate(zip(samples, captions, strict=True)):
            path = f"examples/{number}-{step}.png"
            self._write(path, _png(captioned(sample.open(), caption)))
            images.append({"key": f"examples/{number}", "step": step, "path": path})
        self.log(images=images)

    def log_predictions(self, predictions: Sequence[Prediction], samples: Sequence[Sample]) -> None:
        """Show the table of predictions, in place of an earlier one.

        The first rows show their image, taken from `samples`, which are in the same order.
        """
        shown = [self._thumbnail(n, sample) for n, sample in enumerate(samples[:_THUMBNAILS])]
        images = shown + [None] * (len(predictions) - len(shown))
        rows = [
            [prediction.image_id, image, prediction.caption, " | ".join(prediction.references)]
            for prediction, image in zip(predictions, images, strict=True)
        ]
        table = {"columns": ["image_id", "image", "caption", "references"], "data": rows}
        self._write(PREDICTIONS, json.dumps(table).encode())
        paths = [PREDICTIONS, *(cell["filepath"] for cell in shown)]
        as_table = json.dumps([{"path": PREDICTIONS, "type": "table"}])
        self.log(files=paths, tags={"mlflow.loggedArtifacts": as_table})

    def keep_scores(self, scores: Scores) -> None:
        """Write scores and statistics per image, in place of earlier ones, for the next rung."""
        self._write(scores_file.SCORES, scores_file.dump(scores).encode())
        self._with_next_rung["files"] = [scores_file.SCORES]

    def keep_tags(self, tags: Mapping[str, str]) -> None:
        """Let the trial's run have these tags with the next rung."""
        self._with_next_rung["tags"] = dict(tags)

    def kept_scores(self) -> Scores | None:
        """Return the scores that were written last; None where there are none."""
        text = self.folder.read(self._path(scores_file.SCORES))
        return None if text is None else scores_file.parse(text)

    def _thumbnail(self, number: int, sample: Sample) -> dict[str, str]:
        """Keep a small image for a row of the table; return the cell that shows it."""
        path = f"table_images/eval/predictions/{number}.png"
        self._write(path, _png(thumbnail(sample.open())))
        return {"type": "image", "filepath": path, "compressed_filepath": path}

    def _write(self, path: str, content: bytes) -> None:
        self.folder.write(self._path(path), content)

    def _path(self, path: str) -> Path:
        return self.folder.artifact(self.trial, path)


def objective_first(metrics: Mapping[str, float], objective: str) -> dict[str, float]:
    """Return metrics in the order in which MLflow is to have them: `objective` (``cider``) first.

    MLflow's comparison page opens with the metric that was logged first.
    """
    return dict(sorted(metrics.items(), key=lambda item: item[0] != f"val/{objective}"))


def _png(picture: Image.Image) -> bytes:
    file = io.BytesIO()
    picture.save(file, "PNG")
    return file.getvalue()


def _redacted(texts: Mapping[str, str]) -> dict[str, str]:
    return {key: redact(text) for key, text in texts.items()}
