"""Share of images whose caption or answer is one of their references.

Up to case and white space, and nothing else: "12.5 gram" is not "125 gram".
"""

from workers.metrics.metric import Captions, Metric
from workers.metrics.texts import plain


def _compute(references: Captions, candidates: Captions) -> dict[str, float]:
    hits = [
        plain(caption) in {plain(reference) for reference in references[image]}
        for image, (caption,) in candidates.items()
    ]
    return {"exact_match": sum(hits) / len(hits)}


METRIC = Metric(
    name="exact_match",
    outputs=("exact_match",),
    compute=_compute,
    reads="text",
    tasks=("captioning", "vqa"),
)
