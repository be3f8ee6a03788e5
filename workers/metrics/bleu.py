"""BLEU-1 to BLEU-4 (Papineni et al. 2002): clipped n-gram precision over the whole corpus."""

from workers.metrics.metric import Array, Bound, Captions, Metric, table

OUTPUTS = ("bleu_1", "bleu_2", "bleu_3", "bleu_4")
_ORDERS = len(OUTPUTS)
# Those of pycocoevalcap: a caption without n-grams scores 0, and nothing is divided by 0.
_TINY, _SMALL = 1e-15, 1e-9


def _bind(references: Captions, whole: Captions) -> Bound:
    """Count the n-grams of the references once."""
    from pycocoevalcap.bleu.bleu_scorer import cook_refs, cook_test  # the catalog stays light

    cooked = {image: cook_refs(captions) for image, captions in references.items()}

    def row(image: str, text: str) -> list[int]:
        """Return words, words of the closest reference, n-grams and clipped matches by order."""
        counts = cook_test(text, cooked[image], "closest")
        return [counts["testlen"], counts["reflen"], *counts["guess"], *counts["correct"]]

    return Bound(
        lambda candidates: table(row(image, text) for image, (text,) in candidates.items()), _finish
    )


def _finish(statistics: Array) -> tuple[dict[str, float], dict[str, Array]]:
    """Return BLEU with the closest reference length, as the COCO evaluation does."""
    from pycocoevalcap.bleu.bleu_scorer import BleuScorer

    scorer = BleuScorer(n=_ORDERS)
    scorer.ctest = [
        # "reflen" is a list from which it takes the closest.
        {"testlen": words, "reflen": [closest], "guess": rest[:_ORDERS], "correct": rest[_ORDERS:]}
        for words, closest, *rest in statistics.astype(int).tolist()
    ]
    corpus, images = scorer.compute_score(option="closest")
    return dict(zip(OUTPUTS, corpus, strict=True)), dict(zip(OUTPUTS, table(images), strict=True))


def _pool(totals: Array) -> dict[str, Array]:
    """Return BLEU by the same formula, for any number of sums at once."""
    import numpy as np

    words, closest = totals[..., 0], totals[..., 1]
    guess, correct = totals[..., 2 : 2 + _ORDERS], totals[..., 2 + _ORDERS :]
    precision = np.cumprod((correct + _TINY) / (guess + _SMALL), axis=-1)
    ratio = (words + _TINY) / (closest + _SMALL)
    with np.errstate(over="ignore"):  # e to the minus infinity is the 0 that is meant
        brevity = np.where(ratio < 1, np.exp(1 - 1 / ratio), 1.0)
    scores = precision ** (1 / np.arange(1, _ORDERS + 1)) * brevity[..., None]
    return {output: scores[..., order] for order, output in enumerate(OUTPUTS)}


METRIC = Metric(name="bleu", outputs=OUTPUTS, bind=_bind, pool=_pool)
