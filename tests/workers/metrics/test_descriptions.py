"""Metrics that describe captions, on captions whose values can be counted by hand."""

import pytest

from workers.metrics import distinct_captions, length_ratio, repetition


@pytest.mark.parametrize(
    ("captions", "value"),
    [
        (["a", "b", "c"], 1.0),
        (["A dog", "a  dog", "a cat", "it"], 3 / 4),
        (["same"] * 49, 1 / 49),
        ([""], 1.0),
    ],
)
def test_distinct_captions_are_counted(captions: list[str], value: float) -> None:
    candidates = {str(n): [text] for n, text in enumerate(captions)}
    found = distinct_captions.METRIC.compute(candidates, candidates)
    assert found == {"distinct_captions": pytest.approx(value, abs=1e-15)}


@pytest.mark.parametrize(
    ("captions", "references", "value"),
    [
        (["a b", "a b c"], [["a b c d"], ["a"]], 5 / 5),
        (["a b c"], [["a", "a b", "a b c d"]], 3 / 2),  # of two equally near the shorter one
        ([""], [["a b", "a"]], 0.0),
        (["a b c d"], [["a", "a b"]], 2.0),
    ],
)
def test_length_ratio_is_that_of_the_corpus(
    captions: list[str], references: list[list[str]], value: float
) -> None:
    found = length_ratio.METRIC.compute(
        {str(n): texts for n, texts in enumerate(references)},
        {str(n): [text] for n, text in enumerate(captions)},
    )
    assert found == {"length_ratio": value}


@pytest.mark.parametrize(
    ("caption", "value"),
    [
        ("", 0.0),
        ("dog dog dog dog", 0.0),
        ("dog Dog dog dog dog", 1 / 2),
        ("a dog a dog a dog", 1 / 3),
        ("a man in a red hat and a man in a red hat", 3 / 10),
        ("every word stands here only once", 0.0),
        ("no " * 103, 0.99),
    ],
)
def test_repetition_is_the_share_of_runs_of_four_words_seen_before(
    caption: str, value: float
) -> None:
    candidates = {"a": [caption]}
    found = repetition.METRIC.compute({"a": ["a dog"]}, candidates)
    assert found == {"repetition": pytest.approx(value)}
