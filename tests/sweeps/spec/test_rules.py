"""Rules and forbidden combinations in a sweep file."""

import pickle

import pytest

from sweeps.spec.load import SpecError, dump, parse

HEAD = """\
name: shapes
model: {base: tiny:shapes}
data: {source: shapes}
search:
  space:
    adapter.rank: {choice: [4, 8, 16]}
    quantization: {choice: [none, int8]}
    adapter.dropout: {choice: [0.0, 0.1], when: {quantization: int8}}
"""
RULES = """\
  rules:
    - adapter.alpha <= 4 * adapter.rank
    - adapter.dropout > 0
  forbidden:
    - {quantization: int8, adapter.rank: [4, 16]}
"""


def problems(text, *overrides):
    with pytest.raises(SpecError) as refused:
        parse(text, overrides=overrides)
    return [str(problem) for problem in refused.value.issues]


def test_points_are_refused_by_the_first_rule_that_they_break():
    sweep = parse(HEAD + RULES)
    plain, quantized = {"quantization": "none"}, {"quantization": "int8", "adapter.dropout": 0.1}
    assert sweep.refusal({"adapter.rank": 8, **plain}) is None
    assert sweep.refusal({"adapter.rank": 8, **quantized}) is None
    assert sweep.refusal({"adapter.rank": 4, **plain}) == "adapter.alpha <= 4 * adapter.rank"
    assert (
        sweep.refusal({"adapter.rank": 16, **quantized})
        == "forbidden: quantization int8, adapter.rank 4 or 16"
    )
    # An inactive field has no value, whatever the recipe says of it.
    assert sweep.refusal({"adapter.rank": 8, "quantization": "none"}) is None
    assert sweep.refusal({"adapter.rank": 8, **quantized, "adapter.dropout": 0.0}) == (
        "adapter.dropout > 0"
    )


def test_fixed_fields_follow_the_recipe():
    sweep = parse(HEAD + RULES, overrides=["adapter.alpha=16"])
    assert sweep.refusal({"adapter.rank": 4, "quantization": "none"}) is None


def test_a_field_of_a_section_that_is_null_is_null():
    text = HEAD + "  rules: [data.split.train == null]\n"
    assert parse(text).refusal({}) is None


def test_a_sweep_without_rules_refuses_nothing():
    assert parse(HEAD).refusal({"adapter.rank": 4}) is None


def test_rules_read_back_from_what_is_written():
    sweep = parse(HEAD + RULES)
    again = parse(dump(sweep))
    assert again == sweep
    assert again.search.all_rules == sweep.search.all_rules
    assert len(again.search.all_rules) == 3
    assert pickle.loads(pickle.dumps(sweep)) == sweep


def test_a_preset_brings_its_rules_beside_those_of_the_file():
    text = HEAD.partition("search:")[0] + "search:\n  space: {preset: full, adapter.rank: null}\n"
    sweep = parse(text + "  rules: [train.warmup < 0.1]\n")
    assert "adapter.rank" not in sweep.search.space
    assert [str(rule) for rule in sweep.search.rules] == [
        "train.warmup < 0.1",
        "not (quantization == 'int8' and adapter.variant == 'dora')",
    ]
    assert parse(dump(sweep)) == sweep


def test_an_override_changes_a_field_of_a_preset_and_keeps_its_rules():
    text = HEAD.partition("search:")[0] + "search: {space: full}"
    overrides = ["search.space.adapter.rank={choice: [2]}", "search.space.adapter.dropout=null"]
    search = parse(text, overrides=overrides).search
    assert search.space["adapter.rank"].values == (2,)
    assert "adapter.dropout" not in search.space
    assert len(search.rules) == 1


WRONG = """\
  rules:
    - adapter.alfa <= 4 * adapter.rank
    - adapter.targets <= 3
    - __import__('os').getcwd() == 1
    - adapter.rank <= 8
    - 7
  forbidden:
    - {quantization: nf4, adapter.rank: 4}
    - {train.decay: cosin, adapter.rank: 4}
    - {adapter.targets: txt, adapter.rnk: 4}
    - 5
"""


def test_everything_wrong_with_rules_is_told_with_its_line():
    assert problems(HEAD + WRONG) == [
        "sweep.yaml:10  search.rules.0  must name fields of the recipe, got adapter.alfa "
        "(did you mean adapter.alpha?)",
        "sweep.yaml:11  search.rules.1  must have numbers beside <=, adapter.targets is text, "
        'got "adapter.targets <= 3"',
        "sweep.yaml:12  search.rules.2  must be made of fields, numbers, texts in quotes, + - * /, "
        "comparisons, and, or, not and in [...], not of \"__import__('os').getcwd()\", "
        "got \"__import__('os').getcwd() == 1\"",
        "sweep.yaml:14  search.rules.4  must be a text of at most 1000 characters, such as "
        "adapter.alpha <= 4 * adapter.rank, got 7",
        "sweep.yaml:16  search.forbidden.0.quantization  must be a value that quantization can "
        'take (none, int8), got "nf4"',
        "sweep.yaml:17  search.forbidden.1.train.decay  must have values that fit train.decay: one "
        'of constant, linear, cosine, got "cosin"',
        "sweep.yaml:18  search.forbidden.2  must name fields of the recipe, got adapter.rnk "
        "(did you mean adapter.rank?)",
        "sweep.yaml:18  search.forbidden.2.adapter.targets  must be one of text, text_all, "
        'text_all_head, vision, all, got "txt" (did you mean text?)',
        "sweep.yaml:19  search.forbidden.3  must be a mapping from fields to values, such as "
        "{quantization: int8}, got 5",
    ]


@pytest.mark.parametrize("value", ["rank < 4", "{a: 1}", "5", "null"])
def test_rules_and_combinations_are_lists(value):
    for key in ("rules", "forbidden"):
        (problem,) = problems(f"{HEAD}  {key}: {value}\n")
        assert f"sweep.yaml:9  search.{key}  must be a list of " in problem


def test_rules_that_leave_no_point_are_refused_with_the_one_that_refuses_most():
    text = HEAD + "  rules: [adapter.rank > 4, adapter.alpha < adapter.rank, adapter.rank < 9]\n"
    assert problems(text) == [
        "sweep.yaml:9  search.rules  must allow some point: of all 3 points, none keeps every "
        "rule; most, 3, are refused by adapter.alpha < adapter.rank"
    ]
    forbidden = HEAD + "  forbidden: [{quantization: [none, int8]}]\n"
    (problem,) = problems(forbidden)
    assert problem.startswith("sweep.yaml:9  search.forbidden  must allow some point: of all 2 ")


def test_rules_over_a_continuous_field_are_tried_at_random():
    text = HEAD + "    train.learning_rate: {log_uniform: [1e-5, 1e-3]}\n"
    assert problems(text + "  rules: [train.learning_rate > 1]\n") == [
        "sweep.yaml:10  search.rules  must allow some point: of 1000 points drawn, none keeps "
        "every rule; most, 1000, are refused by train.learning_rate > 1"
    ]


def test_other_problems_come_before_the_number_of_points():
    text = HEAD + "  rules: [adapter.rank > 99]\ntrain: {epochs: 0}\n"
    (problem,) = problems(text)
    assert "train.epochs" in problem
