"""METEOR 1.5 (Denkowski and Lavie 2014) for English, by the jar that pycocoevalcap ships.

Its corpus value is not the mean over the images. Starting the jar and scoring 1000 captions take
about one CPU-second each, so the Java process stays alive as long as its scorer.

Of a caption or reference the first 1000 words count. The jar's memory grows with the square of
their number, and its heap of 2 GiB would end with a caption of 20,000 words that never ends.
"""

from workers.metrics.metric import Array, Bound, Captions, Metric, table

_WORDS = 1000
_STATISTICS = 23
"""Numbers in the jar's answer to SCORE."""

_CHUNKS = 20
"""Place of the number of pieces that the matched words are in."""

# The parameters for English, and the weights of its four kinds of match: same word, same stem,
# synonym, paraphrase.
_ALPHA, _BETA, _GAMMA, _DELTA = 0.85, 0.2, 0.6, 0.75
_WEIGHTS = (1.0, 0.6, 0.8, 0.6)


def _bind(references: Captions, whole: Captions) -> Bound:
    # here, because the catalog must stay light
    from workers.metrics.java.meteor_jvm import Jvm, MeteorServer
    from workers.metrics.java.paraphrases import table_for

    server = MeteorServer(table_for(text for captions in references.values() for text in captions))
    expected = {image: [_cut(text) for text in texts] for image, texts in references.items()}

    def rows(candidates: Captions) -> Array:
        """Return the jar's statistics of each image, and behind them its score."""
        pairs = [(expected[image], _cut(caption)) for image, (caption,) in candidates.items()]

        def ask(jvm: Jvm) -> Array:
            answers = jvm.score(pairs)
            scores = jvm.evaluate(answers)[:-1]
            scored = zip(answers, scores, strict=True)
            return table([*_summable(answer), score] for answer, score in scored)

        return server.do(ask)

    def finish(statistics: Array) -> tuple[dict[str, float], dict[str, Array]]:
        """Return the jar's own scores: that of the corpus is the one of the summed statistics."""
        totals = statistics[:, :_STATISTICS].sum(axis=0).tolist()
        corpus = server.do(lambda jvm: jvm.evaluate([" ".join(map(str, totals))]))[-1]
        return {"meteor": corpus}, {"meteor": statistics[:, _STATISTICS]}

    return Bound(rows, finish, server.session)


def _summable(answer: str) -> list[float]:
    """Return the jar's answer to SCORE as numbers that can be added over images.

    A caption that is all in one piece and all matched, in its reference too, is not fragmented
    at all: the jar counts its one chunk neither alone nor in a sum.
    """
    row = [float(number) for number in answer.split()]
    words, reference_words, chunks = row[0], row[1], row[_CHUNKS]
    if (sum(row[4:20:2]), sum(row[5:20:2]), chunks) == (words, reference_words, 1):
        row[_CHUNKS] = 0.0
    return row


def _pool(totals: Array) -> dict[str, Array]:
    """Return METEOR of sums of the jar's statistics (..., at least 23), by its formula.

    The jar answers for one set of images; this does for any number of resamples at once.
    """
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


def _cut(text: str) -> str:
    words = text.split(" ", _WORDS)
    return text if len(words) <= _WORDS else " ".join(words[:_WORDS])


METRIC = Metric(name="meteor", outputs=("meteor",), bind=_bind, pool=_pool)
