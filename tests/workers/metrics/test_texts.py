"""Bit-parallel distances against the tables that they stand for."""

import random

from pycocoevalcap.rouge.rouge import Rouge, my_lcs

from workers.metrics.rouge_l import METRIC
from workers.metrics.texts import common, edits


def _edits_by_table(one: str, other: str) -> int:
    row = list(range(len(other) + 1))
    for i, item in enumerate(one, start=1):
        diagonal, row[0] = row[0], i
        for j, target in enumerate(other, start=1):
            diagonal, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, diagonal + (item != target))
    return row[-1]


def test_equal_those_by_table() -> None:
    draw = random.Random(0)
    for _ in range(3000):
        one, other = ("".join(draw.choices("abcd", k=draw.randint(0, 9))) for _ in "12")
        assert edits(one, other) == _edits_by_table(one, other)
        assert common(one, other) == my_lcs(one, other)


def test_long_texts_take_little_memory() -> None:
    """A table would have 900 million fields."""
    one = ["a", "dog"] * 15_000
    assert edits(one, one[1:]) == 1
    assert common(one, one[1:]) == len(one) - 1


def test_rouge_equals_the_stock_scorer() -> None:
    draw = random.Random(0)
    words = ["a", "the", "dog", "cat", "runs", "sits", "in", "on", "park", "street"]
    references = {
        str(n): [" ".join(draw.choices(words, k=draw.randint(1, 10))) for _ in range(n % 5 + 1)]
        for n in range(2000)
    }
    candidates = {n: [" ".join(draw.choices(words, k=draw.randint(0, 10)))] for n in references}
    corpus, images = Rouge().compute_score(references, candidates)
    bound = METRIC.bind(references, references)
    found, of_images = METRIC.finished(bound, bound.rows(candidates))
    assert found == {"rouge_l": float(corpus)}
    assert (of_images["rouge_l"] == images).all()
