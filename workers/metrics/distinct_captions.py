"""Distinct captions per image, up to case and white space: 1 when no two images share one.

A model that has collapsed writes the same for all images, which other metrics may still like.
"""

from collections import Counter

from workers.metrics.metric import Array, Bound, Captions, Metric, ratio, table
from workers.metrics.texts import plain


def _rows(candidates: Captions) -> Array:
    """Return each image's share in its caption, which add up to the captions there are, and 1."""
    texts = [plain(caption) for (caption,) in candidates.values()]
    images = Counter(texts)
    return table((1 / images[text], 1.0) for text in texts)


METRIC = Metric(
    name="distinct_captions",
    outputs=("distinct_captions",),
    bind=lambda references, whole: Bound(_rows),
    pool=ratio("distinct_captions"),
    alone=False,
    reads="text",
)
