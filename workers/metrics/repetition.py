"""Repetition within captions: seq-rep-4 of Welleck et al. 2020, mean over the images.

The share of a caption's runs of four words that stood in it before, from 0 to nearly 1 for one
word over and over. A caption of fewer than five words has no more than one run, and scores 0.
"""

from workers.metrics.metric import ratio_metric

WORDS = 4
"""Words of a run; four words that come again are a loop and not a phrase."""


def repeated(text: str) -> float:
    """Return the share of the text's runs of words that stood in it before."""
    words = text.lower().split()
    runs = [tuple(words[n : n + WORDS]) for n in range(len(words) - WORDS + 1)]
    return (len(runs) - len(set(runs))) / len(runs) if runs else 0.0


def _row(references: list[str], caption: str) -> tuple[float, float]:
    return repeated(caption), 1.0


METRIC = ratio_metric("repetition", _row, reads="text", direction="min")
