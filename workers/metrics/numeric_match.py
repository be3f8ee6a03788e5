"""Share of answers that mean the same quantity as a reference: ``1 kilogram``, ``1000.0 gram``.

Numbers are compared as floats and units after conversion. An empty answer matches an empty
reference; one that is not a number and a unit matches nothing.
"""

from workers.data.contest import same_quantity
from workers.metrics.metric import Metric
from workers.metrics.rows import each, ratio


def _row(truths: list[str], answer: str) -> tuple[float, float]:
    return any(same_quantity(answer, truth) for truth in truths), 1.0


METRIC = Metric(
    name="numeric_match",
    outputs=("numeric_match",),
    bind=each(_row),
    pool=ratio("numeric_match"),
    reads="text",
    tasks=("vqa",),
)
