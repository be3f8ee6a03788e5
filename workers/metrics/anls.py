"""Average normalized Levenshtein similarity (Biten et al. 2019), forgiving of misread letters.

An answer scores 1 minus its edits per character of the longer text, for the reference nearest
to it, up to case and white space; half of the characters or more wrong scores 0. It is lenient
with numbers: ``35 gram`` for ``34 gram`` has 0.857.
"""

from workers.metrics.metric import ratio_metric
from workers.metrics.texts import edits, plain

_THRESHOLD = 0.5
"""Share of wrong characters from which an answer counts as wrong (tau of the paper)."""


def _row(truths: list[str], answer: str) -> tuple[float, float]:
    return max(_similarity(plain(answer), plain(truth)) for truth in truths), 1.0


def _similarity(answer: str, truth: str) -> float:
    longer = max(len(answer), len(truth))
    distance = edits(answer, truth) / longer if longer else 0.0
    return 1.0 - distance if distance < _THRESHOLD else 0.0


METRIC = ratio_metric("anls", _row, reads="text", tasks=("vqa",))
