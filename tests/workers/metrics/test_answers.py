"""Metrics of answers on questions whose values can be counted by hand."""

import pytest

from workers.metrics import anls, challenge_f1, numeric_match, valid_format
from workers.metrics.texts import edits


def score(metric, *pairs):
    """Score pairs of an answer and its truths."""
    references = {str(n): list(truths) for n, (_, *truths) in enumerate(pairs)}
    candidates = {str(n): [answer] for n, (answer, *_) in enumerate(pairs)}
    return metric.METRIC.compute(references, candidates)[metric.METRIC.name]


RIGHT, WRONG, INVENTED = ("2 volt", "2 volt"), ("3 volt", "2 volt"), ("3 volt", "")
MISSED, SILENT = ("", "2 volt"), ("", "")


@pytest.mark.parametrize(
    ("pairs", "f1"),
    [
        ([RIGHT], 1.0),
        ([RIGHT, SILENT], 1.0),  # nothing to say and nothing said costs nothing
        ([RIGHT, WRONG], 2 / 3),  # a wrong answer is one false positive, no false negative
        ([RIGHT, INVENTED], 2 / 3),
        ([RIGHT, MISSED], 2 / 3),
        ([RIGHT, RIGHT, WRONG, INVENTED, MISSED, SILENT], 4 / 7),
        ([WRONG, MISSED], 0.0),
        ([SILENT], 0.0),
        ([("2.0 volt", "2 volt")], 0.0),
        ([("2 Volt", "2 volt")], 0.0),
        ([("2 volt", "1 volt", "2 volt")], 1.0),
    ],
)
def test_challenge_f1_counts_by_the_rule(pairs, f1):
    assert score(challenge_f1, *pairs) == pytest.approx(f1)


@pytest.mark.parametrize(
    ("answer", "truth", "same"),
    [
        ("34.0 gram", "34 gram", True),
        ("1 kilogram", "1000 gram", True),
        ("12.5 gram", "125 gram", False),
        ("-5 volt", "5 volt", False),
        ("5 volt", "5 watt", False),
        ("", "", True),
        ("", "34 gram", False),
        ("34 gram", "", False),
        ("34 grams", "34 grams", False),
    ],
)
def test_numeric_match_compares_quantities(answer, truth, same):
    assert score(numeric_match, (answer, truth), ("1 volt", "1 volt")) == (1.0 if same else 0.5)


def test_valid_format_takes_empty_answers_and_units_of_any_entity():
    taken = [("", "x"), ("34 gram", "5 volt"), ("0.5 cubic foot", "")]
    refused = [("34gram", "x"), ("34 gramme", "x"), ("about 34 gram", "x"), ("1e3 gram", "x")]
    assert score(valid_format, *taken) == 1.0
    assert score(valid_format, *taken, *refused) == 3 / 7


@pytest.mark.parametrize(
    ("answer", "truths", "value"),
    [
        ("35 gram", ["34 gram"], 1 - 1 / 7),
        ("34 GRAM", ["34  gram"], 1.0),
        ("35 gram", ["7 ounce", "34 gram"], 1 - 1 / 7),
        ("abc", ["abcde"], 1 - 2 / 5),
        ("ab", ["abcd"], 0.0),  # half of it is missing
        ("", [""], 1.0),
        ("", ["34 gram"], 0.0),
        ("34 gram", [""], 0.0),
    ],
)
def test_anls_forgives_less_than_half(answer, truths, value):
    assert score(anls, (answer, *truths)) == pytest.approx(value)


def test_edits_of_texts_and_of_words():
    assert edits("kitten", "sitting") == edits("sitting", "kitten") == 3
    assert edits("", "abc") == 3
    assert edits(["a", "red", "dog"], ["a", "dog"]) == 1
