"""Who takes over whose state."""

import math
import random

from sweeps.schedulers.evolution import Member, evolve


def members(*scores):
    return [
        Member(trial=f"trial-{number:03d}", score=score, point={"train.learning_rate": 1e-3})
        for number, score in enumerate(scores)
    ]


def halved(point):
    """Half the rate, or three times, as chance will have it."""
    return {**point, "train.learning_rate": point["train.learning_rate"] * random.choice((0.5, 3))}


def test_the_worst_take_over_from_the_best_with_a_changed_point():
    found = evolve(members(1, 5, 2, 9, 3, 4, 8, 7), 4, 0.25, halved, "0")
    assert [segment.trial for segment in found] == ["trial-000", "trial-002"]
    assert {segment.donor for segment in found} <= {"trial-003", "trial-006"}
    assert {segment.rung for segment in found} == {4}
    assert {segment.perturbed for segment in found} == {("train.learning_rate",)}
    assert {segment.point["train.learning_rate"] for segment in found} <= {5e-4, 3e-3}


def test_the_same_members_are_compared_alike_in_any_order_and_nobody_else_draws_otherwise():
    every = members(*range(12))
    random.seed(7)
    expected = random.random()
    random.seed(7)
    found = evolve(every, 2, 0.5, halved, "seed")
    assert random.random() == expected
    assert evolve(every[::-1], 2, 0.5, halved, "seed") == found
    assert any(evolve(every, 2, 0.5, halved, str(seed)) != found for seed in range(5))


def test_who_has_nothing_to_give_takes_and_never_gives():
    (segment,) = evolve(members(-math.inf, 1.0), 2, 0.5, halved, "0")
    assert (segment.trial, segment.donor) == ("trial-000", "trial-001")
    assert evolve(members(-math.inf, -math.inf), 2, 0.5, halved, "0") == ()


def test_nobody_alone_is_compared():
    assert evolve(members(1.0), 2, 0.5, halved, "0") == ()
    assert evolve([], 2, 0.5, halved, "0") == ()


def test_a_point_that_stayed_the_same_has_nothing_perturbed():
    (segment,) = evolve(members(1.0, 2.0), 2, 0.25, dict, "0")
    assert segment.perturbed == ()
