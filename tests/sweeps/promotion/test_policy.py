"""The policy of a promotion: the file's section, with the command's options on top."""

import pytest

from sweeps.promotion.gate import Policy
from sweeps.spec.load import parse

HEAD = "name: shapes\nmodel: {base: tiny:shapes}\ndata: {source: shapes}\n"


def policy_of(text, **options):
    return Policy.of(parse(HEAD + text), to="model", **options)


def test_options_come_on_top_of_the_file():
    text = (
        "promote: {model: mine, margin: 0.1, confidence: 0.9, max_adapter_mb: 5, "
        "max_latency_ms: 100, max_slowdown: 1.5}"
    )
    assert policy_of(text, margin=0.2) == Policy(
        model="model",
        objective="cider",
        mode="max",
        margin=0.2,
        confidence=0.9,
        max_adapter_mb=5.0,
        max_latency_ms=100.0,
        max_slowdown=1.5,
    )
    sweep = parse(HEAD + text)
    assert Policy.of(sweep).model == "mine"
    assert Policy.of(sweep, to="other").model == "other"
    assert Policy.of(sweep, margin=0.0).margin == 0.0


@pytest.mark.parametrize(
    ("option", "said"),
    [
        ({"to": "a/b"}, r'^--to must be the name of a registered model: .*, got "a/b"$'),
        ({"margin": -1}, r"^--margin must be a number of at least 0, got -1$"),
    ],
)
def test_an_option_that_no_file_could_have_is_refused(option, said):
    with pytest.raises(ValueError, match=said):
        Policy.of(parse(HEAD), **{"to": "mine", **option})


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("search: {objective: {metric: meteor}}", ("meteor", "max")),
        (
            "evaluate: {metrics: [word_error_rate, cider]}\n"
            "search: {objective: {metric: word_error_rate}}",
            ("word_error_rate", "min"),
        ),
        ("search: {objective: [{metric: bleu_4}, {metric: adapter_mb}]}", ("bleu_4", "max")),
        ("search: {objective: {metric: loss}}", ("cider", "max")),
        (
            "evaluate: {metrics: [length_ratio, word_error_rate, meteor]}\n"
            "search: {objective: {metric: loss}}",
            ("word_error_rate", "min"),
        ),
    ],
)
def test_the_leading_objective_decides_and_a_score_of_captions_for_the_loss(text, expected):
    found = policy_of(text)
    assert (found.objective, found.mode) == expected


def test_without_a_score_that_has_a_better_direction_nothing_can_be_judged():
    text = "evaluate: {metrics: [length_ratio]}\nsearch: {objective: {metric: loss}}"
    with pytest.raises(ValueError, match=r"evaluate\.metrics must have one .* got length_ratio"):
        policy_of(text)
