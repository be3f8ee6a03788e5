"""ROUGE-L (Lin 2004): F-measure of the longest common subsequence, mean over the images."""

from workers.metrics.metric import Captions, Metric


def _compute(references: Captions, candidates: Captions) -> dict[str, float]:
    from pycocoevalcap.rouge.rouge import Rouge  # here, because the catalog must stay light

    value, _ = Rouge().compute_score(references, candidates)
    return {"rouge_l": float(value)}


METRIC = Metric(name="rouge_l", outputs=("rouge_l",), compute=_compute)
