"""Rules: what they mean, what they refuse to be, and that nothing in them is ever run."""

import itertools
import pickle
import random
from typing import Any

import pytest

from search_spaces.domains import Choice, IntUniform, LogUniform, Uniform
from search_spaces.issues import SpaceError
from search_spaces.rules import (
    ENUMERATED,
    AnyRule,
    Forbidden,
    Rule,
    broken,
    feasible,
    read_forbidden,
    read_rules,
    rule_issues,
)
from search_spaces.space import Space

POINT: dict[str, Any] = {
    "rank": 8,
    "alpha": 32.0,
    "dropout": 0.1 + 0.05,  # 0.15000000000000002, as a step of 0.05 draws it
    "targets": "text",
    "dora": True,
    "limit": None,
    "decay": 0.0,
}


@pytest.mark.parametrize(
    ("text", "holds"),
    [
        ("alpha <= 4 * rank", True),
        ("alpha < 4 * rank", False),
        ("alpha > 4 * rank", False),
        ("alpha >= 4 * rank", True),
        ("alpha / rank == 4", True),
        ("alpha != 32", False),
        ("8 <= rank < 9 <= alpha", True),
        ("8 <= rank < 8 <= alpha", False),
        ("-rank + 10 - (1 - -1) == 0", True),
        ("dropout <= 0.15", True),
        ("dropout > 0.15", False),
        ("dropout == 0.15", True),
        ("targets == 'text'", True),
        ('targets in ["text_all", "all"]', False),
        ("targets not in ('text_all', 'all')", True),
        ("rank in [8, 16] and not dora", False),
        ("rank in [-8, 16] or dora", True),
        ("dora == true", True),
        ("rank == 1 or (rank == 8 and alpha == 32)", True),
        ("limit == null", True),
        ("limit != null", False),
        # IEEE 754: a number divided by 0 is infinite, and 0 / 0 compares to nothing.
        ("rank / decay > 1e300", True),
        ("-rank / decay > 1e300", False),
        ("decay / decay >= 0", False),
        # With null neither true nor false: broken only by what is known to be false.
        ("limit < 3", True),
        ("not limit < 3", True),
        ("limit + 1 < 3", True),
        ("limit < 3 and rank == 9", False),
        ("rank == 9 and limit < 3", False),
        ("limit < 3 or rank == 9", True),
        # Fields without a value: the rule does not apply.
        ("absent < 3", True),
        ("absent < 3 and rank == 9", True),
    ],
)
def test_a_rule_means_what_it_says(text: str, holds: bool) -> None:
    assert Rule(text).holds(POINT) is holds


LETTERS = {name: value for name, value in POINT.items() if isinstance(value, (int, float))}


def grown(draw: random.Random, depth: int, truth: bool) -> str:
    """Return a random expression in the words that rules and Python share."""
    if truth and depth:
        inner = [grown(draw, depth - 1, True) for _ in range(2)]
        return draw.choice([f"({inner[0]} and {inner[1]})", f"({inner[0]} or {inner[1]})",
                            f"(not {inner[0]})", grown(draw, 0, True)])  # fmt: skip
    if truth:
        signs = draw.choices(["<", "<=", "==", "!=", ">", ">="], k=2)
        sides = [grown(draw, 2, False) for _ in range(3)]
        return f"{sides[0]} {signs[0]} {sides[1]} {signs[1]} {sides[2]}"
    if depth:
        sides = [grown(draw, depth - 1, False) for _ in range(2)]
        return f"({sides[0]} {draw.choice('+-*')} {sides[1]})"
    return draw.choice([*"abc", "2", "0.5", "-3"])


def test_random_rules_hold_where_python_says_so() -> None:
    draw = random.Random(0)
    values = list(itertools.product((-1, 0, 2), (1, 3), (0.5, 4)))
    seen = set()
    for _ in range(100):
        text = grown(draw, 3, True)
        rule = Rule(text)
        for a, b, c in values:
            point = {"a": a, "b": b, "c": c}
            expected = eval(text, {}, dict(point))
            assert rule.holds(point) is expected, (text, point)
            seen.add(expected)
    assert seen == {True, False}


ALLOWED = "must be made of fields, numbers, texts in quotes, + - * /, comparisons, and, or, not"


@pytest.mark.parametrize(
    ("form", "message"),
    [
        ("", "must be a condition such as adapter.alpha <= 4 * adapter.rank: invalid syntax"),
        ("rank <", "invalid syntax, got"),
        ("rank = 4", "invalid syntax, got"),
        ("rank <= 4; alpha", "must be a condition such as"),
        ("rank <= \x00", "must be a condition such as"),
        (4, "must be a text of at most 1000 characters, such as adapter.alpha"),
        (None, "must be a text of at most 1000 characters"),
        ("rank < 1 " + "or rank < 1 " * 100, "must be a text of at most 1000 characters"),
        ("-" * 999 + "1", "must "),
        ("(" * 400 + "1" + ")" * 400, "must "),
        ("not " * 60 + "dora", "must not be nested more than 50 deep"),
        ("rank in [" * 90 + "1" + "]" * 90, "must "),
        ("rank ** 9 ** 9 ** 9 > 1", ALLOWED),
        ("rank % 2 == 0", ALLOWED),
        ("rank // 2 == 0", ALLOWED),
        ("1 << 999999 > rank", ALLOWED),
        ("~rank > 1", ALLOWED),
        ("__import__('os').system('true') == 0", ALLOWED),
        ("open('x') == 1", ALLOWED),
        ("().__class__.__bases__ == 1", ALLOWED),
        ("rank[0] == 1", ALLOWED),
        ("[x for x in rank] == 1", ALLOWED),
        ("(lambda: 1) == 1", ALLOWED),
        ("(x := 1) == 1", ALLOWED),
        ("f'{rank}' == '8'", ALLOWED),
        ("rank == 1j", ALLOWED),
        ("rank == b'8'", ALLOWED),
        ("rank == ...", ALLOWED),
        ("rank == -'8'", ALLOWED),
        ("rank == -True", ALLOWED),
        ("rank < 1e999", ALLOWED),
        ("rank < " + "9" * 400, ALLOWED),
        ("rank if dora else alpha", ALLOWED),
        ("rank is 8", "must compare with <, <=, ==, !=, >=, >, in or not in"),
        ("rank in 8", "must have a list of one or more values after in"),
        ("rank in []", "must have a list of one or more values after in"),
        ("rank in [alpha]", "must have a list of values after in, without fields"),
    ],
)
def test_what_is_no_rule_is_refused(form: Any, message: str) -> None:
    with pytest.raises(SpaceError) as caught:
        Rule(form)
    assert message in str(caught.value)


def test_dunder_names_are_fields_that_nobody_has() -> None:
    rule = Rule("adapter.__class__.__init__ == 1")
    assert rule.fields == ("adapter.__class__.__init__",)
    assert rule.holds({"adapter": POINT})


def test_huge_numbers_in_a_field_stop_nothing() -> None:
    assert Rule("seed * 2 > 1").holds({"seed": 10**400})
    assert not Rule("seed == 1.5").holds({"seed": 10**400})


SPACE = Space(
    {
        "adapter.rank": Choice((4, 8)),
        "train.learning_rate": LogUniform(1e-5, 1e-3),
        "train.max_grad_norm": Choice((None, 1.0)),
        "quantization": Choice(("none", "int8")),
        "adapter.dropout": Uniform(0.0, 0.2, 0.05, when={"quantization": ("int8",)}),
    }
)
FIXED: dict[str, Any] = {
    "adapter.alpha": 32.0, "adapter.targets": "text", "evaluate.metrics": ("bleu",),
    "train.patience": None, "train.activation_checkpointing": False,
}  # fmt: skip


def issues(rule: Rule | Forbidden) -> list[str]:
    return [str(issue) for issue in rule_issues(rule, SPACE, FIXED)]


@pytest.mark.parametrize(
    "text",
    [
        "adapter.alpha <= 4 * adapter.rank",
        "train.max_grad_norm == null or train.max_grad_norm <= 1",
        "not train.activation_checkpointing",
        "adapter.targets != 'all'",
        "train.patience == 3",
        "adapter.dropout <= 0.1",
    ],
)
def test_sound_rules_have_no_issues(text: str) -> None:
    assert issues(Rule(text)) == []


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("adapter.alfa <= 4",
         "must name fields of the recipe, got adapter.alfa (did you mean adapter.alpha?)"),
        ("rank <= 4", "must name fields of the recipe, got rank (did you mean adapter.rank?)"),
        ("1 <= 4", 'must name a field, such as adapter.rank, got "1 <= 4"'),
        ("adapter.targets <= 3",
         'must have numbers beside <=, adapter.targets is text, got "adapter.targets <= 3"'),
        ("2 * quantization > 3",
         'must have numbers beside *, quantization is text, got "2 * quantization > 3"'),
        ("train.patience < 3",
         'must have numbers beside <, train.patience is null, got "train.patience < 3"'),
        ("adapter.targets == 3",
         "must compare values of one kind, adapter.targets is text and 3 is a number, "
         'got "adapter.targets == 3"'),
        ("quantization in ['int8', 8]",
         "must compare values of one kind, quantization is text and 8 is a number, "
         "got \"quantization in ['int8', 8]\""),
        ("evaluate.metrics == 'bleu'",
         "must compare values of one kind, evaluate.metrics is a list and \"bleu\" is text, "
         "got \"evaluate.metrics == 'bleu'\""),
        ("4 * adapter.rank",
         'must have a condition, what * gives is a number, got "4 * adapter.rank"'),
        ("not adapter.rank",
         'must have a condition after not, adapter.rank is a number, got "not adapter.rank"'),
        ("adapter.rank > 4 or adapter.alpha",
         "must have conditions beside or, adapter.alpha is a number, "
         'got "adapter.rank > 4 or adapter.alpha"'),
        ("(adapter.rank > 4) < 2",
         "must have numbers beside <, a condition is true or false, "
         'got "(adapter.rank > 4) < 2"'),
    ],
)  # fmt: skip
def test_rules_over_the_wrong_fields_are_refused(text: str, message: str) -> None:
    assert issues(Rule(text)) == [message]


def test_a_combination_is_forbidden_only_as_a_whole() -> None:
    (forbidden,) = read_forbidden([{"targets": ["text", "all"], "dora": True, "dropout": 0.15}])
    assert not forbidden.holds(POINT)
    assert forbidden.holds({**POINT, "dora": False})
    assert forbidden.holds({**POINT, "dora": 1})
    assert forbidden.holds({**POINT, "targets": "text_all"})
    assert forbidden.holds({"dora": True, "dropout": 0.15})


def test_a_combination_reads_back_from_its_form() -> None:
    form = [{"targets": ["text", "all"], "dora": True}, {"limit": None}]
    read = read_forbidden(form)
    assert [each.form() for each in read] == form
    assert read_forbidden(read) == read
    assert str(read[0]) == "forbidden: targets text or all, dora true"


def test_combinations_of_values_that_no_domain_has_are_refused() -> None:
    (forbidden,) = read_forbidden([{"quantization": "int4", "adapter.rnk": 4, "adapter.rank": 4}])
    assert issues(forbidden) == [
        "must name fields of the recipe, got adapter.rnk (did you mean adapter.rank?)",
        "quantization  must be a value that quantization can take (none, int8), "
        'got "int4" (did you mean int8?)',
    ]


@pytest.mark.parametrize(
    ("form", "message"),
    [
        ("x < 1", "must be a list of combinations"),
        ([5], "0  must be a mapping from fields to values"),
        ([{}], "0  must be a mapping from fields to values"),
        ([{"a": 1}, {"a": {"b": 1}}], "1.a  must be a value or a list of one or more values"),
        ([{"a": []}], "0.a  must be a value or a list of one or more values, got []"),
    ],
)
def test_what_is_no_combination_is_refused(form: Any, message: str) -> None:
    with pytest.raises(SpaceError) as caught:
        read_forbidden(form)
    assert message in str(caught.value)


def test_all_rules_of_a_list_are_read_before_any_is_refused() -> None:
    assert read_rules(["a < 1", Rule("b < 1")]) == (Rule("a < 1"), Rule("b < 1"))
    with pytest.raises(SpaceError) as caught:
        read_rules(["a <", "b < 1", "f()"])
    assert [issue.keys for issue in caught.value.issues] == [("0",), ("2",)]
    with pytest.raises(SpaceError, match="must be a list of rules"):
        read_rules("a < 1")


def test_the_first_broken_rule_is_told() -> None:
    rules = [*read_rules(["rank <= base", "rank <= 6"]), *read_forbidden([{"rank": 4}])]
    assert broken(rules, {"rank": 5}, {"base": 9}) is None
    assert broken(rules, {"rank": 8}, {"base": 7}) is rules[0]
    assert broken(rules, {"rank": 8}, {"base": 9}) is rules[1]
    assert broken(rules, {"rank": 4}, {"base": 9}) is rules[2]


def test_rules_can_be_pickled() -> None:
    rules = (Rule("rank <= 6"), Forbidden({"rank": (4,)}))
    copies = pickle.loads(pickle.dumps(rules))
    assert copies == rules
    assert [rule.holds({"rank": 8}) for rule in copies] == [False, True]


COUNTED = Space(
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
    found = feasible(COUNTED, rules, {})
    assert (found.exact, found.points) == (True, 4 * 8)
    assert found.refused == {"alpha <= 2 * rank": 7 + 6 + 4 + 0, "rank >= 8": 8}
    assert found.allowed == 0 + 2 + 4 + 8
    assert found.share == found.allowed / found.points


def test_inactive_fields_break_no_rule() -> None:
    found = feasible(COUNTED, (Rule("dropout > 0.1"),), {})
    assert (found.points, found.allowed) == (1 + 3, 1 + 1)


def test_fixed_fields_decide_too() -> None:
    rules = (Rule("epochs < 3"),)
    assert feasible(COUNTED, rules, {"epochs": 2}).share == 1.0
    assert feasible(COUNTED, rules, {"epochs": 3}).share == 0.0


def test_without_rules_all_is_allowed() -> None:
    assert feasible(COUNTED, (), {}).share == 1.0


def test_large_spaces_are_drawn_from_and_the_draws_repeat() -> None:
    rules = (Rule("rate <= 1e-4"),)
    found = feasible(COUNTED, rules, {}, tries=400, seed=1)
    assert (found.exact, found.points) == (False, 400)
    assert found.share == pytest.approx(0.5, abs=0.1)
    assert found == feasible(COUNTED, rules, {}, tries=400, seed=1)
    assert found != feasible(COUNTED, rules, {}, tries=400, seed=2)


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
    domains = {path: domain for path, domain in COUNTED.items() if path != "rate"}
    points = list(Space(domains).points())
    for _ in range(30):
        rules = tuple({str(rule): rule for rule in (random_rule(draw), random_rule(draw))}.values())
        # A field that no rule names may change how often a point counts, so name all.
        rules += (Rule("rank + alpha + dropout > 0"), Rule("quantization != 'nothing'"))
        found = feasible(COUNTED, rules, {})
        assert found.points == len(points)
        assert found.allowed == sum(all(rule.holds(p) for rule in rules) for p in points)
        for rule in rules:
            assert found.refused[str(rule)] == sum(not rule.holds(p) for p in points)
