import random

import pytest

from search_spaces.domains import Choice, IntUniform, LogUniform, Uniform
from search_spaces.rules import ENUMERATED, AnyRule, Forbidden, Rule, feasible
from search_spaces.space import Space

SPACE = Space(
    {
        "rank": Choice((4, 8, 16, 32)),
        "alpha": IntUniform(8, 64, 8),
        "quantization": Choice(("none", "int8")),
        "dropout": Uniform(0.0, 0.2, 0.1, when={"quantization": ("int8",)}),
        "rate": LogUniform(1e-5, 1e-3),
    }
)


def test_small_parts_of_a_space_are_looked_at_as_a_whole() -> None:
    rules = (Rule("alpha <= 2 * rank"), Rule("rank >= 8"))
    found = feasible(SPACE, rules, {})
    assert (found.exact, found.points) == (True, 4 * 8)
    assert found.refused == {"alpha <= 2 * rank": 7 + 6 + 4 + 0, "rank >= 8": 8}
    assert found.allowed == 0 + 2 + 4 + 8
    assert found.share == found.allowed / found.points


def test_inactive_fields_break_no_rule() -> None:
    found = feasible(SPACE, (Rule("dropout > 0.1"),), {})
    assert (found.points, found.allowed) == (1 + 3, 1 + 1)


def test_fixed_fields_decide_too() -> None:
    rules = (Rule("epochs < 3"),)
    assert feasible(SPACE, rules, {"epochs": 2}).share == 1.0
    assert feasible(SPACE, rules, {"epochs": 3}).share == 0.0


def test_without_rules_all_is_allowed() -> None:
    assert feasible(SPACE, (), {}).share == 1.0


def test_large_spaces_are_drawn_from_and_the_draws_repeat() -> None:
    rules = (Rule("rate <= 1e-4"),)
    found = feasible(SPACE, rules, {}, tries=400, seed=1)
    assert (found.exact, found.points) == (False, 400)
    assert found.share == pytest.approx(0.5, abs=0.1)
    assert found == feasible(SPACE, rules, {}, tries=400, seed=1)
    assert found != feasible(SPACE, rules, {}, tries=400, seed=2)


def test_finite_spaces_above_the_limit_are_drawn_from() -> None:
    space = Space({"a": IntUniform(1, ENUMERATED), "b": Choice((1, 2))})
    assert feasible(space, (Rule("a > 0"),), {}).exact
    assert not feasible(space, (Rule("a > b"),), {}, tries=10).exact


def random_rule(draw: random.Random) -> AnyRule:
    if draw.random() < 0.3:
        return Forbidden({"rank": (draw.choice((4, 8)),), "quantization": ("int8",)})
    left, right = draw.sample(["rank", "alpha", "10 * dropout", "20"], 2)
    return Rule(f"{left} {draw.choice(['<', '<=', '!=', '>'])} {right}")


def test_counts_agree_with_looking_at_every_point() -> None:
    draw = random.Random(3)
    domains = {path: domain for path, domain in SPACE.items() if path != "rate"}
    points = list(Space(domains).points())
    for _ in range(30):
        rules = tuple({str(rule): rule for rule in (random_rule(draw), random_rule(draw))}.values())
        # A field that no rule names may change how often a point counts, so name all.
        rules += (Rule("rank + alpha + dropout > 0"), Rule("quantization != 'nothing'"))
        found = feasible(SPACE, rules, {})
        assert found.points == len(points)
        assert found.allowed == sum(all(rule.holds(p) for rule in rules) for p in points)
        for rule in rules:
            assert found.refused[str(rule)] == sum(not rule.holds(p) for p in points)
