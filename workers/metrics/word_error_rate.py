"""Word error rate: edits that turn the caption into a reference, per word of the reference.

Of several references the one with the fewest edits per word counts. Above 1 when a caption is
longer than its references.
"""

import math

from workers.metrics.metric import ratio_metric
from workers.metrics.texts import edits


def _row(references: list[str], caption: str) -> tuple[int, int]:
    """Return the edits, and the words of the reference that they lead to."""
    options = [(edits(caption.split(), r.split()), len(r.split())) for r in references]
    return min(options, key=lambda option: option[0] / option[1])


METRIC = ratio_metric("word_error_rate", _row, direction="min", high=math.inf)
