"""Word error rate: edits that turn the caption into a reference, per word of the reference.

Of several references the one with the fewest edits per word counts. Above 1 when a caption is
longer than its references.
"""

import math

from workers.metrics.metric import Captions, Metric


def _compute(references: Captions, candidates: Captions) -> dict[str, float]:
    edits, words = 0, 0
    for image, (caption,) in candidates.items():
        options = [(_edits(caption.split(), r.split()), len(r.split())) for r in references[image]]
        fewest, length = min(options, key=lambda option: option[0] / option[1])
        edits, words = edits + fewest, words + length
    return {"word_error_rate": edits / words}


def _edits(one: list[str], other: list[str]) -> int:
    """Return the fewest insertions, deletions and substitutions of words (Levenshtein 1966)."""
    row = list(range(len(other) + 1))
    for i, word in enumerate(one, start=1):
        diagonal, row[0] = row[0], i
        for j, target in enumerate(other, start=1):
            substituted = diagonal + (word != target)
            diagonal = row[j]
            row[j] = min(row[j] + 1, row[j - 1] + 1, substituted)
    return row[-1]


METRIC = Metric(
    name="word_error_rate",
    outputs=("word_error_rate",),
    compute=_compute,
    direction="min",
    high=math.inf,
)
