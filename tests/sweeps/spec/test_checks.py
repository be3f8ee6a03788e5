"""Metrics and objective of a sweep about questions: those of captions are refused by name."""

import pytest

from sweeps.spec.load import SpecError, parse

FILE = """\
name: products
task: vqa
model: {base: tiny:shapes}
data: {source: amazon-vqa}
"""
OF_VQA = "exact_match, challenge_f1, valid_format, numeric_match, anls"


def problems(text):
    with pytest.raises(SpecError) as refused:
        parse(FILE + text)
    return [str(problem) for problem in refused.value.issues]


def test_the_default_metrics_are_refused_at_once_with_those_that_fit():
    assert problems("search: {objective: {metric: loss}}") == [
        f"sweep.yaml  evaluate.metrics  must name metrics of vqa: {OF_VQA}, "
        'got "bleu", "meteor", "rouge_l", "cider"'
    ]


def test_the_default_objective_is_refused_with_those_that_fit():
    assert problems("evaluate: {metrics: [challenge_f1, anls]}") == [
        "sweep.yaml  search.objective.metric  must be loss or an output of evaluate.metrics: "
        'challenge_f1, anls, got "cider"'
    ]


def test_a_metric_of_captions_and_an_unknown_one_are_told_apart():
    metrics = "evaluate: {metrics: [anls, bleu, numeric_mach]}\n"
    assert problems(metrics + "search: {objective: {metric: anls}}") == [
        f'sweep.yaml:5  evaluate.metrics  must name metrics of vqa: {OF_VQA}, got "bleu"',
        f'sweep.yaml:5  evaluate.metrics  must name metrics of vqa: {OF_VQA}, got "numeric_mach" '
        "(did you mean numeric_match?)",
    ]


def test_metrics_of_answers_are_for_questions_only():
    captioning = FILE.replace("vqa\n", "captioning\n", 1)
    with pytest.raises(SpecError, match=r"must name metrics of captioning: bleu, .*got \"anls\""):
        parse(captioning + "evaluate: {metrics: [anls, cider]}")


def test_an_objective_of_answers_is_maximized():
    text = "evaluate: {metrics: [challenge_f1]}\nsearch: {objective: {metric: challenge_f1}}"
    assert parse(FILE + text).search.objective.mode == "max"
