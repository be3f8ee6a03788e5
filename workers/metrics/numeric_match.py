"""Share of answers that mean the same quantity as a reference: ``1 kilogram``, ``1000.0 gram``.

Numbers are compared as floats and units after conversion. An empty answer matches an empty
reference; one that is not a number and a unit matches nothing.
"""

from workers.data.contest import same_quantity
from workers.metrics.metric import Captions, Metric


def _compute(references: Captions, candidates: Captions) -> dict[str, float]:
    hits = [
        any(same_quantity(answer, truth) for truth in references[image])
        for image, (answer,) in candidates.items()
    ]
    return {"numeric_match": sum(hits) / len(hits)}


METRIC = Metric(
    name="numeric_match",
    outputs=("numeric_match",),
    compute=_compute,
    reads="text",
    tasks=("vqa",),
)
