"""Repetition within captions: seq-rep-4 of Welleck et al. 2020, mean over the images.

The share of a caption's runs of four words that stood in it before, from 0 to nearly 1 for one
word over and over. A caption of fewer than five words has no more than one run, and scores 0.
"""

from workers.metrics.metric import Metric
from workers.metrics.rows import each, ratio

_WORDS = 4


def _row(references: list[str], caption: str) -> tuple[float, float]:
    words = caption.lower().split()
    runs = [tuple(words[n : n + _WORDS]) for n in range(len(words) - _WORDS + 1)]
    return ((len(runs) - len(set(runs))) / len(runs) if runs else 0.0), 1.0


METRIC = Metric(
    name="repetition",
    outputs=("repetition",),
    bind=each(_row),
    pool=ratio("repetition"),
    reads="text",
    direction="min",
)
