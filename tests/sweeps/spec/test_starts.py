"""Known good points come first, or it is said why not."""

import pytest

from sweeps.spec import starts
from sweeps.spec.load import SpecError, parse

FILE = """
name: starts
model: {base: tiny:shapes}
data: {source: shapes}
adapter: {rank: 8}
train: {learning_rate: 1e-3}
search:
  space:
    adapter.rank: {choice: [2, 4, 8]}
    train.learning_rate: {log_uniform: [1e-4, 1e-1]}
    quantization: {choice: [none, nf4]}
    adapter.dropout: {uniform: [0.0, 0.2], step: 0.05, when: {quantization: nf4}}
"""
OWN = {"adapter.rank": 8, "train.learning_rate": 1e-3, "quantization": "none"}


def starting(points):
    return parse(f"{FILE}  start: {points}\n")


def test_the_recipe_s_own_values_come_first():
    assert starts.points(parse(FILE)) == [OWN]


@pytest.mark.parametrize(
    ("old", "new", "why"),
    [
        ("{rank: 8}", "{rank: 16}", "adapter.rank 16 is outside 2, 4, 8"),
        ("learning_rate: 1e-3}", "learning_rate: 1e-5}", "train.learning_rate 1e-05 is outside"),
        ("search:", 'search:\n  rules: ["adapter.rank <= 4"]', "they break adapter.rank <= 4"),
    ],
)
def test_own_values_outside_the_space_are_left_out_and_it_is_said_why(old, new, why):
    sweep = parse(FILE.replace(old, new))
    assert starts.points(sweep) == []
    point, said = starts.own_point(sweep)
    assert point is None
    assert said.startswith(why)


def test_an_empty_list_switches_it_off():
    assert starts.points(starting([])) == []


def test_given_points_are_settled_to_what_optuna_draws():
    sweep = starting("[{adapter.rank: 4}, {quantization: nf4, adapter.dropout: 0}]")
    first, second = starts.points(sweep)
    assert first == {"adapter.rank": 4}
    assert second == {"quantization": "nf4", "adapter.dropout": 0.0}
    assert isinstance(second["adapter.dropout"], float)


@pytest.mark.parametrize(
    ("point", "problem"),
    [
        ("{adapter.rank: 16}", "search.start.0.adapter.rank  must lie in the field's domain, "
         "2, 4, 8, got 16 (did you mean 8?)"),
        ("{train.learning_rate: 0.5}", "search.start.0.train.learning_rate  must lie in the "
         "field's domain, 0.0001 to 0.1, log scale, got 0.5 (did you mean 0.1?)"),
        ("{quantization: nf5}", 'got "nf5" (did you mean nf4?)'),
        ("{adapter.rnak: 4}", "must name a field of search.space, got adapter.rnak "
         "(did you mean adapter.rank?)"),
        ("{quantization: none, adapter.dropout: 0.1}", "search.start.0.adapter.dropout  must be "
         'left out unless quantization is "nf4", got quantization "none"'),
    ],
)  # fmt: skip
def test_a_point_outside_the_space_is_refused(point, problem):
    with pytest.raises(SpecError) as raised:
        starting(f"[{point}]")
    assert problem in str(raised.value)


def test_a_point_against_the_rules_is_refused():
    text = f"{FILE}  start: [{{adapter.rank: 8}}]\n  rules: ['adapter.rank <= 4']\n"
    with pytest.raises(SpecError, match=r"search\.start\.0  must keep the rules, got adapter"):
        parse(text)
