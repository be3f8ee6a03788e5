"""CIDEr-D of single captions against references that are prepared once.

pycocoevalcap's `CiderScorer.compute_cider` weighs all n-grams of all references anew for each
set of captions. Here norms and lengths of the references are kept, and only n-grams that a
caption shares with a reference are weighed. The operations and their order are those of
`compute_cider`, so that the values are equal to the last bit, which a test holds.
"""

import math
from collections import Counter
from dataclasses import dataclass
from functools import reduce
from operator import add

import numpy as np
from pycocoevalcap.cider.cider_scorer import precook

from workers.metrics.metric import Array, Captions, table

Ngram = tuple[str, ...]
Counts = dict[Ngram, int]

_ORDERS = 4
_SIGMA = 6.0
"""Standard deviation of the Gaussian penalty on a difference in length, in words."""


@dataclass(frozen=True, slots=True)
class _Text:
    """One caption: its n-grams, the norm of their weights by order, and its length."""

    counts: Counts
    norms: tuple[float, ...]
    length: int
    """In bigrams, as pycocoevalcap counts it."""


class CiderD:
    """CIDEr-D against the references of some images.

    Args:
        references: image id -> captions as tokens.
        documents: image id -> captions, which the document frequencies are counted in.
    """

    def __init__(self, references: Captions, documents: Captions) -> None:
        counted = _counted(references)
        texts = (counted if documents is references else _counted(documents)).values()
        frequencies = Counter(ngram for captions in texts for ngram in set().union(*captions))
        self._rarest = float(np.log(float(len(documents))))
        by_frequency = {f: self._rarest - float(np.log(float(f))) for f in frequencies.values()}
        self._idf = {ngram: by_frequency[f] for ngram, f in frequencies.items()}
        self._references = {image: list(map(self._text, texts)) for image, texts in counted.items()}

    def rows(self, candidates: Captions) -> Array:
        """Return the score of each caption, and 1 (images, 2)."""
        return table((self._score(image, text), 1.0) for image, (text,) in candidates.items())

    def _text(self, counts: Counts) -> _Text:
        idf, rarest, squares, bigrams = self._idf, self._rarest, [0.0] * _ORDERS, 0
        for ngram, count in counts.items():
            order = len(ngram)
            squares[order - 1] += (count * idf.get(ngram, rarest)) ** 2
            if order == 2:
                bigrams += count
        return _Text(counts, tuple(map(math.sqrt, squares)), bigrams)

    def _weight(self, ngram: Ngram, count: int) -> float:
        return count * self._idf.get(ngram, self._rarest)

    def _score(self, image: str, caption: str) -> float:
        text, references = self._text(precook(caption)), self._references[image]
        sums = [0.0] * _ORDERS
        for reference in references:
            for order, value in enumerate(self._similarity(text, reference)):
                sums[order] += value
        # Not `sum`, which is more exact from Python 3.12 on, and so not equal.
        return reduce(add, sums) / _ORDERS / len(references) * 10.0

    def _similarity(self, text: _Text, reference: _Text) -> list[float]:
        """Return the cosine by order of n-gram, with clipped counts and the length penalty."""
        values = [0.0] * _ORDERS
        for ngram, count in text.counts.items():
            expected = reference.counts.get(ngram)
            if expected:
                weight = self._weight(ngram, expected)
                values[len(ngram) - 1] += min(self._weight(ngram, count), weight) * weight
        delta = float(text.length - reference.length)
        penalty = math.e ** (-(delta**2) / (2 * _SIGMA**2))
        norms = [one * other for one, other in zip(text.norms, reference.norms, strict=True)]
        pairs = zip(values, norms, strict=True)
        return [(value / norm if norm else value) * penalty for value, norm in pairs]


def _counted(texts: Captions) -> dict[str, list[Counts]]:
    """Return the n-grams of all orders in each caption."""
    return {
        image: [dict(precook(caption)) for caption in captions] for image, captions in texts.items()
    }
