"""The F1 of the Amazon ML Challenge 2024, for answers such as ``34 gram`` or none at all.

By its rule an answer that is not empty is a true positive when it equals the truth, and else a
false positive, also where the truth is empty; an empty answer is a false negative where the
truth is not. Texts are compared as they are written: ``34 gram`` is not ``34.0 gram``.
"""

from collections import Counter
from typing import Literal

from workers.metrics.metric import Captions, Metric

Outcome = Literal["true positive", "false positive", "false negative", "true negative"]


def _compute(references: Captions, candidates: Captions) -> dict[str, float]:
    """Return the F1 over all questions; 0 where no answer is right, even if none is asked for."""
    counts = Counter(_outcome(answer, references[image]) for image, (answer,) in candidates.items())
    hits = 2 * counts["true positive"]
    wrong = counts["false positive"] + counts["false negative"]
    return {"challenge_f1": hits / (hits + wrong) if hits else 0.0}


def _outcome(answer: str, truths: list[str]) -> Outcome:
    if answer:
        return "true positive" if answer in truths else "false positive"
    return "true negative" if "" in truths else "false negative"


METRIC = Metric(
    name="challenge_f1",
    outputs=("challenge_f1",),
    compute=_compute,
    reads="text",
    tasks=("vqa",),
)
