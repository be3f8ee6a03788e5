"""METEOR 1.5 (Denkowski and Lavie 2014) from sums of the jar's statistics.

The jar answers for one set of images; this is its formula for any number of resamples at once.
"""

from workers.metrics.metric import Array

STATISTICS = 23
"""Numbers in the jar's answer to SCORE."""

_CHUNKS = 20
"""Place of the number of pieces that the matched words are in."""

# The parameters for English, and the weights of its four kinds of match: same word, same stem,
# synonym, paraphrase.
_ALPHA, _BETA, _GAMMA, _DELTA = 0.85, 0.2, 0.6, 0.75
_WEIGHTS = (1.0, 0.6, 0.8, 0.6)


def summable(answer: str) -> list[float]:
    """Return the jar's answer to SCORE as numbers that can be added over images.

    A caption that is all in one piece and all matched, in its reference too, is not fragmented
    at all: the jar counts its one chunk neither alone nor in a sum.
    """
    row = [float(number) for number in answer.split()]
    words, reference_words, chunks = row[0], row[1], row[_CHUNKS]
    if (sum(row[4:20:2]), sum(row[5:20:2]), chunks) == (words, reference_words, 1):
        row[_CHUNKS] = 0.0
    return row


def pool(totals: Array) -> dict[str, Array]:
    """Return METEOR of summed statistics (..., at least 23)."""
    import numpy as np  # here, because the catalog must stay light

    # Of the caption and of the reference: words, function words, then by kind of match the
    # words of content and the function words that are matched.
    lengths, functions = totals[..., 0:2], totals[..., 2:4]
    kinds = totals[..., 4:20].reshape(*totals.shape[:-1], len(_WEIGHTS), 2, 2)
    chunks, matched = totals[..., _CHUNKS], totals[..., 21:23]
    emphasis = np.array([_DELTA, 1 - _DELTA])
    weighted = np.einsum("...kfs,k,f->...s", kinds, np.array(_WEIGHTS), emphasis)
    with np.errstate(divide="ignore", invalid="ignore"):  # without any match the score is 0
        shares = weighted / (_DELTA * (lengths - functions) + (1 - _DELTA) * functions)
        mean = 1 / ((1 - _ALPHA) / shares[..., 0] + _ALPHA / shares[..., 1])
        fragments = chunks / matched.mean(axis=-1)
        score = mean * (1 - _GAMMA * fragments**_BETA)
    return {"meteor": np.where(np.isnan(score), 0.0, np.maximum(score, 0.0))}
