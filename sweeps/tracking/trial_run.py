"""The parts of a trial's run in MLflow: names, statuses, parameters, data, and its segments.

Where a population changes a trial's point, a child run of the trial's run begins. The trial's run
keeps the whole curve and the parameters that it began with, for MLflow's parameters never change; a
segment's run has the parameters of the segment and its part of the curve.
"""

import json
import math
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from sweeps import names
from sweeps.results.segments import Segment
from sweeps.tracking.client import find_trials
from sweeps.trial import Ending, trial_number, trial_title
from workers.data.sample import DataSet, Sample
from workers.measures import PREFIX
from workers.recipe import Data

EXAMPLE_IMAGES = 2
"""Validation images whose captions are shown at rung 0 and at a trial's end."""

STATUS: Mapping[Ending, str] = {
    "completed": "FINISHED",
    "stopped": "KILLED",
    "failed": "FAILED",
    "failed-by-guard": "FAILED",
    "interrupted": "KILLED",
}
"""MLflow's run status for each ending."""

PREDICTIONS = "eval/predictions.json"
"""The same name in every trial: MLflow compares tables of one name side by side."""
RUNG_SECONDS = "time/rung_seconds"
"""A metric of every rung; a rung that has it is stored."""
BEST_RUNG = "best/rung"
LINEAGE = "trial.lineage"
"""Tag of a trial's run: whose states its weights went through."""
SEGMENT_RUNG = "segment.rung"
"""Tag of a segment's run: the rung after which it begins."""

EVAL_IMAGES, EVAL_DIGEST = "eval.images", "eval.digest"
"""Tags of a trial and of its sweep: scores of runs with different digests cannot be compared."""
FINAL_IMAGES, FINAL_DIGEST = "eval.final_images", "eval.final_digest"

_DIGEST_CHARACTERS = 12  # MLflow allows 36; the whole digest stands in the profile


def best_metrics(metrics: Mapping[str, float], rung: int) -> dict[str, float]:
    """Return the metrics of a best rung as MLflow shows them, with the number of the rung."""
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
    """Return `params` as text, with ``<name>_log10`` beside each one in `logarithmic`.

    They are logged a second time because MLflow's axes are linear.
    """
    logs = {
        f"{name}_log10": f"{math.log10(params[name]):.4f}" for name in logarithmic if name in params
    }
    return {**{name: str(value) for name, value in params.items()}, **logs}


def eval_tags(scored: Sequence[Sample]) -> dict[str, str]:
    """Return the tags of the images on which scores were taken."""
    from workers.evaluation.scoring import digest_of_ids  # here, because numpy comes with it

    return {EVAL_IMAGES: str(len(scored)), EVAL_DIGEST: digest_of_ids(one.id for one in scored)}


def final_tags(scored: Sequence[Sample]) -> dict[str, str]:
    """Return the same for the last scoring of a trial, where it was on other images."""
    images, digest = eval_tags(scored).values()
    return {FINAL_IMAGES: images, FINAL_DIGEST: digest}


def data_inputs(data: Data, data_set: DataSet, scored: Sequence[Sample]) -> list[dict[str, Any]]:
    """Return the inputs of a trial for MLflow: the data of training, and the `scored` images.

    Each has the fields of a `Dataset` of MLflow's and the ``tags`` of its use, as plain values.
    """
    counts = {f"{split}_images": len(part) for split, part in data_set.splits.items()}
    return [
        _input("training", data, data_set.digest, counts),
        _input("validation", data, eval_tags(scored)[EVAL_DIGEST], {"images": len(scored)}),
    ]


def _input(context: str, data: Data, digest: str, counts: Mapping[str, int]) -> dict[str, Any]:
    origin = data.path or data.source
    columns = [("image", "binary"), ("captions", "string")]
    schema = [{"name": name, "type": type, "required": True} for name, type in columns]
    dataset = {
        "name": origin.rstrip("/").rsplit("/", 1)[-1],
        "digest": digest[:_DIGEST_CHARACTERS],
        "source_type": data.source,
        "source": json.dumps({"source": data.source, "path": data.path}),
        "schema": json.dumps({"mlflow_colspec": schema}),
        "profile": json.dumps({**counts, "digest": digest}),
    }
    return {"dataset": dataset, "tags": {"mlflow.data.context": context}}


def segment_runs(
    segments: Sequence[Segment], params: Mapping[str, Any], logarithmic: Collection[str]
) -> list[dict[str, Any]]:
    """Return the runs of a trial's segments as the trial's record has them; only the last runs.

    The trial's run is called by the `title` of the last one: by the point with which the trial
    continues. `params` are what all runs of the sweep have besides the point.
    """
    return [
        {
            "rung": segment.rung,
            "title": (title := trial_title(trial_number(segment.trial), segment.point)),
            "name": f"{title} <- {segment.origin}",
            "params": with_log10({**params, **segment.point}, logarithmic),
            "tags": {"segment.trial": segment.trial, "segment.from": segment.origin},
        }
        for segment in segments
    ]


def find_segments(client: Any, trial: Any) -> list[Any]:
    """Return the runs of the segments of the trial whose run in MLflow is `trial`."""
    parent = trial.info
    has_rung = names.has_tag(SEGMENT_RUNG)
    return find_trials(client, parent.experiment_id, parent.run_id, has_rung)
