"""Share of images whose caption is one of their references, up to case and white space."""

from workers.metrics.metric import Captions, Metric


def _compute(references: Captions, candidates: Captions) -> dict[str, float]:
    hits = [
        _plain(caption) in {_plain(reference) for reference in references[image]}
        for image, (caption,) in candidates.items()
    ]
    return {"exact_match": sum(hits) / len(hits)}


def _plain(caption: str) -> str:
    return " ".join(caption.lower().split())


METRIC = Metric(name="exact_match", outputs=("exact_match",), compute=_compute, reads="text")
