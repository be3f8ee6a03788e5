"""ROUGE-L (Lin 2004): F-measure of the longest common subsequence, mean over the images.

With pycocoevalcap's weight of recall, and with its best precision and best recall over the
references, which need not come from the same one. Its own `Rouge` fills a table of all pairs of
words in Python; the values here are equal to the last bit, which a test holds.
"""

from workers.metrics.metric import ratio_metric
from workers.metrics.texts import common

_BETA = 1.2
"""Weight of recall against precision."""


def _row(references: list[str], caption: str) -> tuple[float, float]:
    words = caption.split(" ")
    pairs = [(other, common(words, other)) for other in (text.split(" ") for text in references)]
    precision = max(length / len(words) for _, length in pairs)
    recall = max(length / len(other) for other, length in pairs)
    if not precision:
        return 0.0, 1.0
    return (1 + _BETA**2) * precision * recall / (recall + _BETA**2 * precision), 1.0


METRIC = ratio_metric("rouge_l", _row)
