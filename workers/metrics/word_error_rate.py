"""Word error rate: edits that turn the caption into a reference, per word of the reference.

Of several references the one with the fewest edits per word counts. Above 1 when a caption is
longer than its references.
"""

import math

from workers.metrics.metric import Captions, Metric
from workers.metrics.texts import edits


def _compute(references: Captions, candidates: Captions) -> dict[str, float]:
    wrong, words = 0, 0
    for image, (caption,) in candidates.items():
        options = [(edits(caption.split(), r.split()), len(r.split())) for r in references[image]]
        fewest, length = min(options, key=lambda option: option[0] / option[1])
        wrong, words = wrong + fewest, words + length
    return {"word_error_rate": wrong / words}


METRIC = Metric(
    name="word_error_rate",
    outputs=("word_error_rate",),
    compute=_compute,
    direction="min",
    high=math.inf,
)
