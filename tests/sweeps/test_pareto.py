import math

import numpy as np
import pytest

from sweeps.pareto import costs, fronts, order

NAN = float("nan")


def test_costs_are_less_for_the_better_and_infinite_for_what_is_no_number():
    made = costs([(0.5, 3.0), (NAN, 1.0)], ["max", "min"])
    assert made.tolist() == [[-0.5, 3.0], [math.inf, 1.0]]


def test_the_first_front_is_what_nobody_dominates():
    made = costs([(0.9, 5.0), (0.8, 5.0), (0.8, 2.0), (0.1, 2.0), (0.1, 1.0)], ["max", "min"])
    assert fronts(made) == [[0, 2, 4], [1, 3]]


def test_equal_results_do_not_dominate_each_other():
    assert fronts(costs([(1.0, 1.0), (1.0, 1.0)], ["min", "min"])) == [[0, 1]]


def test_a_result_without_a_number_is_dominated_by_one_with():
    assert fronts(costs([(NAN, 1.0), (0.1, 1.0)], ["max", "min"])) == [[1], [0]]


@pytest.mark.parametrize("seed", range(5))
def test_fronts_agree_with_the_definition(seed):
    found = np.random.default_rng(seed).integers(0, 4, size=(40, 3)).astype(float)

    def dominated(row, among):
        return any((o <= row).all() and (o < row).any() for o in among)

    made = fronts(found)
    assert sorted(row for front in made for row in front) == list(range(40))
    left = set(range(40))
    for front in made:
        assert set(front) == {r for r in left if not dominated(found[r], found[sorted(left)])}
        left -= set(front)


def test_within_a_front_the_best_by_the_first_objective_leads_and_the_farthest_follows():
    made = costs([(3.0, 0.0), (2.9, 0.1), (1.5, 1.5), (0.0, 3.0)], ["min", "min"])
    assert order(made) == [3, 0, 2, 1]


def test_the_order_goes_front_by_front():
    made = costs([(0.1, 9.0), (0.9, 5.0), (0.8, 9.0)], ["max", "min"])
    assert order(made) == [1, 2, 0]


def test_results_that_are_all_without_numbers_have_an_order():
    assert sorted(order(costs([(NAN, NAN)] * 3, ["max", "min"]))) == [0, 1, 2]
