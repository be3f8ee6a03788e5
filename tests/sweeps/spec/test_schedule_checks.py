"""What a sweep file with a population must not say."""

import pytest

from sweeps.spec.load import parse
from sweeps.spec.problems import SpecError

FILE = """
name: checked
model: {base: tiny:shapes}
data: {source: shapes}
train: {epochs: 6}
search:
  space:
    adapter.rank: {choice: [2, 4]}
    train.learning_rate: {log_uniform: [1e-4, 1e-2]}
schedule: {name: pbt}
"""


def refused(*assignments):
    with pytest.raises(SpecError) as caught:
        parse(FILE, overrides=assignments)
    return str(caught.value)


def options(**values):
    return [f"schedule.options.{name}={value}" for name, value in values.items()]


def test_a_population_needs_no_options():
    assert parse(FILE).schedule.name == "pbt"


def test_options_are_taken():
    taken = options(
        perturbation_interval=3, quantile=0.5, resample=0, fields="[train.learning_rate]"
    )
    assert parse(FILE, overrides=taken).schedule.options["quantile"] == 0.5


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"quantile": 0.6}, "quantile  must be a number above 0 and at most 0.5, got 0.6"),
        ({"resample": 2}, "schedule.options.resample  must be"),
        ({"perturbation_interval": 0}, "schedule.options.perturbation_interval  must be"),
        ({"perturbation_interval": 6}, "perturbation_interval  must be below train.epochs, 6"),
        ({"interval": 2}, "schedule.options.interval  must be one of the keys"),
        ({"fields": "[]"}, "schedule.options.fields  must be"),
        ({"fields": "[train.learning_rat]"}, "must name fields of search.space"),
        ({"fields": "[adapter.rank]"}, "adapter.rank cannot change, it belongs to the weights"),
    ],
)
def test_bad_options_are_refused_by_name(given, said):
    assert said in refused(*options(**given))


@pytest.mark.parametrize(
    ("assignment", "said"),
    [
        ("search.space={adapter.rank: {choice: [2, 4]}}", "must have a field that can change"),
        ("search.space.train.epochs={choice: [4, 6]}", "must be a fixed value: trials of pbt"),
        ("search.trials=1", "search.trials  must be at least 2 for pbt"),
        ("schedule.grace=6", "schedule.grace  must be below train.epochs, 6"),
        ("evaluate.from_rung=3", "must be at least evaluate.from_rung, 3"),
        ("search.objective=[{metric: cider}, {metric: loss}]", "for several objectives"),
        (
            "search.space.train.warmup={uniform: [0.0, 0.1], when: {train.decay: linear}}",
            "must not depend on train.decay",
        ),
    ],
)
def test_what_cannot_be_compared_is_refused(assignment, said):
    decay = ["search.space.train.decay={choice: [linear, cosine]}"] if "decay" in said else []
    assert said in refused(*decay, assignment)


def test_a_broken_option_is_said_once():
    assert refused(*options(perturbation_interval="often")).count("perturbation_interval") == 1
