"""Share of images whose caption or answer is one of their references.

Up to case and white space, and nothing else: "12.5 gram" is not "125 gram".
"""

from workers.metrics.metric import Metric
from workers.metrics.rows import each, ratio
from workers.metrics.texts import plain


def _row(references: list[str], caption: str) -> tuple[float, float]:
    return plain(caption) in map(plain, references), 1.0


METRIC = Metric(
    name="exact_match",
    outputs=("exact_match",),
    bind=each(_row),
    pool=ratio("exact_match"),
    reads="text",
    tasks=("captioning", "vqa"),
)
