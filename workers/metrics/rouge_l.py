"""ROUGE-L (Lin 2004): F-measure of the longest common subsequence, mean over the images."""

from workers.metrics.metric import Metric
from workers.metrics.rows import each, ratio


def _row(references: list[str], caption: str) -> tuple[float, float]:
    from pycocoevalcap.rouge.rouge import Rouge  # here, because the catalog must stay light

    return Rouge().calc_score([caption], references), 1.0


METRIC = Metric(name="rouge_l", outputs=("rouge_l",), bind=each(_row), pool=ratio("rouge_l"))
