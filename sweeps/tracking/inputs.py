"""On which images a trial was trained and scored, as MLflow records it."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from workers.data.sample import DataSet, Sample
from workers.recipe import Data

EVAL_IMAGES, EVAL_DIGEST = "eval.images", "eval.digest"
"""Tags of a trial and of its sweep: scores of runs with different digests cannot be compared."""
FINAL_IMAGES, FINAL_DIGEST = "eval.final_images", "eval.final_digest"

_DIGEST_CHARACTERS = 12  # MLflow allows 36; the whole digest stands in the profile


def eval_tags(scored: Sequence[Sample]) -> dict[str, str]:
    """Return the tags that say on which images scores were taken."""
    from workers.evaluation.scoring import digest_of_ids  # here, because numpy comes with it

    return {EVAL_IMAGES: str(len(scored)), EVAL_DIGEST: digest_of_ids(one.id for one in scored)}


def final_tags(scored: Sequence[Sample]) -> dict[str, str]:
    """Return the same for the last scoring of a trial, where it was on other images."""
    images, digest = eval_tags(scored).values()
    return {FINAL_IMAGES: images, FINAL_DIGEST: digest}


def data_inputs(data: Data, data_set: DataSet, scored: Sequence[Sample]) -> list[dict[str, Any]]:
    """Return what MLflow records of a trial's data: what it is trained and on what it is `scored`.

    Each has the fields of a `Dataset` of MLflow's and the ``tags`` of its use, as plain values.
    """
    counts = {f"{split}_images": len(part) for split, part in data_set.splits.items()}
    return [
        _input("training", data, data_set.digest, counts),
        _input("validation", data, eval_tags(scored)[EVAL_DIGEST], {"images": len(scored)}),
    ]


def _input(context: str, data: Data, digest: str, counts: Mapping[str, int]) -> dict[str, Any]:
    origin = data.path or data.source
    dataset = {
        "name": origin.rstrip("/").rsplit("/", 1)[-1],
        "digest": digest[:_DIGEST_CHARACTERS],
        "source_type": data.source,
        "source": json.dumps({"source": data.source, "path": data.path}),
        "schema": json.dumps({"mlflow_colspec": [
            {"name": "image", "type": "binary", "required": True},
            {"name": "captions", "type": "string", "required": True},
        ]}),
        "profile": json.dumps({**counts, "digest": digest}),
    }  # fmt: skip
    return {"dataset": dataset, "tags": {"mlflow.data.context": context}}
