from sweeps.results.worth import by_worth
from sweeps.spec.objectives import Objective
from sweeps.spec.sweep import Search

ONE = Search(objective=[{"metric": "cider"}])
TWO = Search(objective=[{"metric": "cider"}, {"metric": "adapter_mb"}])


def test_of_one_objective_the_winner_is_first_and_needed():
    bests = {"b": [0.5], "a": [0.5], "c": [0.9], "d": [0.1]}
    assert by_worth(ONE, bests, ()) == (["c", "a", "b", "d"], 1)
    assert by_worth(ONE, {}, ()) == ([], 0)


def test_of_several_the_front_is_needed_and_stands_before_the_others():
    bests = {"a": [0.9, 9.0], "b": [0.8, 10.0], "c": [0.1, 1.0], "d": [0.5, 3.0]}
    assert by_worth(TWO, bests, ()) == (["a", "d", "c", "b"], 3)


def test_who_violates_a_limit_is_worth_least():
    bests = {"a": [0.9, 9.0], "b": [0.8, 10.0], "c": [0.1, 1.0]}
    assert by_worth(TWO, bests, {"a"}) == (["b", "c", "a"], 2)
    assert by_worth(ONE, {"a": [0.9], "b": [0.8]}, {"a"}) == (["b", "a"], 1)
    assert Objective(metric="cider") == ONE.objective
