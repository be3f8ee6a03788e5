"""Perturbed points lie in the space and keep its rules."""

import random

import pytest

from search_spaces.domains import Choice, IntLogUniform, LogUniform, Uniform
from search_spaces.space import Space
from sweeps.schedulers.evolution import explore
from sweeps.spec.load import parse
from sweeps.spec.mutable import mutable_fields, mutable_metrics, why_fixed

RATE, BATCH, DROPOUT, RANK = (
    "train.learning_rate", "train.batch_size", "adapter.dropout", "adapter.rank",
)  # fmt: skip
SPACE = Space(
    {
        RATE: LogUniform(1e-4, 1e-2),
        BATCH: Choice((8, 2, 4)),
        DROPOUT: Uniform(0.0, 0.2, 0.05),
        RANK: Choice((4, 8)),
        "train.accumulate": IntLogUniform(1, 16),
    }
)
POINT = {RATE: 1e-3, BATCH: 4, DROPOUT: 0.1, RANK: 8, "train.accumulate": 10}


def everything(point):
    return True


def explored(point=POINT, fields=None, resample=0.0, allowed=everything, times=60):
    random.seed(0)
    chosen = mutable_fields(SPACE, fields)
    return [explore(point, SPACE, chosen, resample, allowed) for _ in range(times)]


def test_a_number_is_multiplied_and_a_value_of_several_becomes_its_neighbour():
    found = explored()
    assert {round(point[RATE], 6) for point in found} == {0.0008, 0.0012}
    assert {point[BATCH] for point in found} == {2, 8}  # neighbours by size, not as written
    assert {point[DROPOUT] for point in found} == {0.05, 0.15}
    assert {point["train.accumulate"] for point in found} == {8, 12}
    assert {point[RANK] for point in found} == {8}


def test_what_leaves_the_range_stops_at_its_end():
    found = explored({**POINT, RATE: 9.9e-3, "train.accumulate": 16})
    assert max(point[RATE] for point in found) == 1e-2
    less, most = sorted({point["train.accumulate"] for point in found})
    assert (less in (12, 13), most) == (True, 16)  # Ray before 2.60 cuts 12.8, later ones round it


def test_a_value_that_is_drawn_anew_lies_anywhere_in_its_domain():
    found = explored(resample=1.0)
    assert all(SPACE[path].contains(point[path]) for point in found for path in point)
    assert min(p[RATE] for p in found) < 3e-4 < 3e-3 < max(p[RATE] for p in found)
    assert {point[BATCH] for point in found} == {2, 4, 8}


def test_only_the_named_fields_change_and_those_that_are_not_in_the_point_stay_away():
    assert all({**point, RATE: 1e-3} == POINT for point in explored(fields=(RATE,)))
    assert all(point.keys() == {RANK} for point in explored({RANK: 4}))


def test_a_point_that_breaks_a_rule_is_made_again_and_the_old_one_stays_if_all_do():
    found = explored(allowed=lambda point: point[RATE] < 1e-3)
    assert {round(point[RATE], 6) for point in found} == {0.0008}
    assert explored(allowed=lambda point: False, times=1) == [POINT]


@pytest.mark.parametrize("path", ["adapter.rank", "quantization", "train.seed", "prompt.text"])
def test_what_cannot_change_has_a_reason(path):
    assert path not in mutable_fields(SPACE, None)
    assert why_fixed(path).startswith("it ")


FILE = """
name: moved
model: {base: tiny:shapes}
data: {source: shapes}
search: {space: {train.learning_rate: {log_uniform: [1e-4, 1e-2]}, adapter.rank: {choice: [2, 4]}}}
"""


def test_what_may_move_is_logged_as_numbers_where_points_change():
    point = {RATE: 1e-3, RANK: 2}
    assert mutable_metrics(parse(FILE + "schedule: {name: pbt}"), point) == {f"point/{RATE}": 1e-3}
    assert mutable_metrics(parse(FILE), point) == {}
