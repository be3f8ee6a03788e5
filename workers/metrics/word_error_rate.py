"""Word error rate: edits that turn the caption into a reference, per word of the reference.

Of several references the one with the fewest edits per word counts. Above 1 when a caption is
longer than its references.
"""

import math

from workers.metrics.metric import Metric
from workers.metrics.rows import each, ratio
from workers.metrics.texts import edits


def _row(references: list[str], caption: str) -> tuple[int, int]:
    """Return the edits, and the words of the reference that they lead to."""
    options = [(edits(caption.split(), r.split()), len(r.split())) for r in references]
    return min(options, key=lambda option: option[0] / option[1])


METRIC = Metric(
    name="word_error_rate",
    outputs=("word_error_rate",),
    bind=each(_row),
    pool=ratio("word_error_rate"),
    direction="min",
    high=math.inf,
)
