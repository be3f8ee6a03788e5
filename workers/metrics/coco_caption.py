"""The caption metrics as a Hugging Face `evaluate.Metric`.

    CocoCaption(keep_in_memory=True).compute(predictions=[...], references=[[...], ...])

or from this file, `evaluate.load(".../workers/metrics/coco_caption.py")`, which runs a copy of
it: everything is imported by its full name from the installed package. The values are those of
`workers.metrics.scorer.Scorer`, hence of the COCO evaluation; CIDEr is its CIDEr-D.
"""

import weakref
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from typing import Any

import datasets
import evaluate

from workers.metrics import catalog
from workers.metrics.scorer import Scorer

COCO = ("bleu", "meteor", "rouge_l", "cider")
_USE = """
Args:
    predictions: a caption for each image, as text.
    references: a list of captions for each image.
    image_ids: with `CocoCaption(image_ids=True)`, which image each row is about. Rows that come
        again, as a `DistributedSampler` pads its shards, then count once.
    per_image: whether `compute` adds the values of each image, in the order of its `image_ids`
        or else of the rows.
"""


class CocoCaption(evaluate.Metric):  # type: ignore[misc]  # evaluate has no types
    """Scores captions against references.

    What the references alone decide, METEOR's Java among it, is kept for further `compute` calls
    with the same ones, until the object goes.
    """

    def __init__(
        self, *args: Any, metrics: Sequence[str] = COCO, image_ids: bool = False, **kwargs: Any
    ) -> None:
        """Take names of `workers.metrics.catalog`, and whether rows come with ids.

        What else is given is `evaluate.Metric`'s. Raises ValueError for an unknown metric.
        """
        catalog.outputs(metrics)
        self._metrics, self._with_ids = tuple(metrics), image_ids
        self._references: Mapping[str, list[str]] = {}
        self._scorer: Scorer | None = None
        self._held = ExitStack()
        weakref.finalize(self, self._held.close)  # runs at exit too
        super().__init__(*args, **kwargs)

    def _info(self) -> evaluate.MetricInfo:
        features = {
            "predictions": datasets.Value("string"),
            "references": datasets.List(datasets.Value("string")),
        }
        if self._with_ids:
            features["image_ids"] = datasets.Value("string")
        return evaluate.MetricInfo(
            description="BLEU-1 to -4, METEOR, ROUGE-L and CIDEr-D exactly as COCO's evaluation.",
            citation="Chen et al. 2015, Microsoft COCO Captions, arXiv:1504.00325",
            inputs_description=_USE,
            features=datasets.Features(features),
        )

    def add(self, *, prediction: Any = None, reference: Any = None, **ids: Any) -> None:
        """Add one row; the id of its image, if any, is called `image_ids` here too."""
        self.add_batch(
            predictions=[prediction],
            references=[reference],
            **{name: [value] for name, value in ids.items()},
        )

    def add_batch(self, *, predictions: Any = None, references: Any = None, **ids: Any) -> None:
        """Add rows; raises ValueError naming the row that is not of the right form."""
        if self._with_ids:
            ids["image_ids"] = [_id(each) for each in ids.get("image_ids", ())]
        _check(predictions, references, ids.get("image_ids"))
        super().add_batch(predictions=predictions, references=references, **ids)

    def _compute(
        self,
        predictions: Sequence[str],
        references: Sequence[Sequence[str]],
        image_ids: Sequence[str] | None = None,
        per_image: bool = False,
    ) -> dict[str, Any]:
        """Return output -> value, and under ``per_image`` output -> values on request."""
        numbers = [str(number) for number in range(len(predictions))]
        rows = _distinct(image_ids or numbers, predictions, references)
        if image_ids:  # not in the order in which processes came to share the images
            rows = dict(sorted(rows.items()))
        expected = {image: truths for image, (_, truths) in rows.items()}
        if self._scorer is None or expected != self._references:
            self._held.close()  # ends the Java of other references
            self._scorer, self._references = Scorer(self._metrics, expected), expected
            self._held.callback(self._scorer.close)
        scored = self._scorer.score({image: caption for image, (caption, _) in rows.items()})
        found: dict[str, Any] = dict(scored.corpus)
        if per_image:
            ids = {"image_ids": list(scored.ids)} if image_ids else {}
            values = {output: array.tolist() for output, array in scored.images.items()}
            found["per_image"] = ids | values
        return found


def _id(given: Any) -> Any:
    """Return a whole number, such as COCO's ids and those in a tensor are, as text."""
    number = given.item() if hasattr(given, "item") else given
    return str(number) if isinstance(number, int) else number


def _check(predictions: Any, references: Any, image_ids: Any) -> None:
    """Raise ValueError, naming the row, where `evaluate` would only print the whole batch."""
    given = {"predictions": predictions, "references": references, "image_ids": image_ids}
    counts = {name: len(rows) for name, rows in given.items() if rows is not None}
    if len(set(counts.values())) > 1 or predictions is None or references is None:
        raise ValueError(f"predictions and references must be of the same length; got {counts}")
    for number, (caption, truths) in enumerate(zip(predictions, references, strict=True)):
        image = None if image_ids is None else image_ids[number]
        row = f"row {number} of the batch" + ("" if image_ids is None else f", image {image!r},")
        if image_ids is not None and not (isinstance(image, str) and image):
            raise ValueError(f"image_ids must be texts or whole numbers; {row} is neither")
        if not isinstance(caption, str):
            raise ValueError(f"predictions must be texts; {row} has {caption!r}")
        several = not isinstance(truths, str) and hasattr(truths, "__iter__") and len(truths)
        if not several or not all(isinstance(each, str) for each in truths):
            raise ValueError(f"references must be lists of at least one text; {row} has {truths!r}")


def _distinct(
    image_ids: Sequence[str], predictions: Sequence[str], references: Sequence[Sequence[str]]
) -> dict[str, tuple[str, list[str]]]:
    """Return image -> its first caption and its references.

    Raises ValueError when two rows of an image have different references.
    """
    rows: dict[str, tuple[str, list[str]]] = {}
    for image, caption, truths in zip(image_ids, predictions, references, strict=True):
        if rows.setdefault(image, (caption, list(truths)))[1] != list(truths):
            raise ValueError(
                f"image_ids must identify images; {image!r} comes with different references"
            )
    return rows
