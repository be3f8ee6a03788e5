"""Average normalized Levenshtein similarity (Biten et al. 2019), forgiving of misread letters.

An answer scores 1 minus its edits per character of the longer text, for the reference nearest
to it, up to case and white space; half of the characters or more wrong scores 0. It is lenient
with numbers: ``35 gram`` for ``34 gram`` has 0.857.
"""

from workers.metrics.metric import Captions, Metric
from workers.metrics.texts import edits, plain

_THRESHOLD = 0.5
"""Share of wrong characters from which an answer counts as wrong (tau of the paper)."""


def _compute(references: Captions, candidates: Captions) -> dict[str, float]:
    scores = [
        max(_similarity(plain(answer), plain(truth)) for truth in references[image])
        for image, (answer,) in candidates.items()
    ]
    return {"anls": sum(scores) / len(scores)}


def _similarity(answer: str, truth: str) -> float:
    longer = max(len(answer), len(truth))
    distance = edits(answer, truth) / longer if longer else 0.0
    return 1.0 - distance if distance < _THRESHOLD else 0.0


METRIC = Metric(
    name="anls",
    outputs=("anls",),
    compute=_compute,
    reads="text",
    tasks=("vqa",),
)
