"""Share of answers that mean the same quantity as a reference: ``1 kilogram``, ``1000.0 gram``.

Numbers are compared as floats and units after conversion. An empty answer matches an empty
reference; one that is not a number and a unit matches nothing.
"""

from workers.data.contest import same_quantity
from workers.metrics.metric import ratio_metric


def _row(truths: list[str], answer: str) -> tuple[float, float]:
    return any(same_quantity(answer, truth) for truth in truths), 1.0


METRIC = ratio_metric("numeric_match", _row, reads="text", tasks=("vqa",))
