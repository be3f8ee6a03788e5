"""Word error rate on captions whose edits can be counted by hand."""

import pytest

from workers.metrics.word_error_rate import METRIC


@pytest.mark.parametrize(
    ("caption", "references", "rate"),
    [
        ("a red dog", ["a red dog"], 0.0),
        ("a dog", ["a red dog"], 1 / 3),
        ("a big red dog", ["a red dog"], 1 / 3),
        ("a blue dog", ["a red dog"], 1 / 3),
        ("dog red a", ["a red dog"], 2 / 3),
        ("", ["a red dog"], 1.0),
        ("one two three four", ["five"], 4.0),
        ("a blue dog", ["a red cat there", "the blue dog"], 1 / 3),
    ],
)
def test_counts_edits_per_word_of_the_nearest_reference(caption, references, rate):
    scores = METRIC.compute({"one": references}, {"one": [caption]})
    assert scores == {"word_error_rate": pytest.approx(rate)}


def test_long_captions_weigh_more_than_short_ones():
    references = {"long": ["a b c d e f g h"], "short": ["a b"]}
    scores = METRIC.compute(references, {"long": ["a b c d e f g h"], "short": ["x y"]})
    assert scores == {"word_error_rate": 2 / 10}
