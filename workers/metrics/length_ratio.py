"""Words of the captions per word of the references, over the whole corpus.

For each image the reference that is nearest in length counts, of two the shorter one, as in
BLEU. A description that has no better direction: 1 is the length of the references.
"""

import math

from workers.metrics.metric import ratio_metric


def _row(references: list[str], caption: str) -> tuple[int, int]:
    words = len(caption.split())
    lengths = [len(reference.split()) for reference in references]
    return words, min(lengths, key=lambda length: (abs(length - words), length))


METRIC = ratio_metric("length_ratio", _row, direction=None, high=math.inf)
