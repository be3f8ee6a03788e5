import math
import pickle
from itertools import product

import optuna
import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

from search_spaces.domains import Choice, IntUniform, LogUniform, Uniform
from search_spaces.issues import SpaceError
from search_spaces.space import Space, placed
from search_spaces.values import Value

# Children stand before their parents on purpose.
CONDITIONAL = Space(
    {
        "adapter.dropout": Uniform(0.0, 0.2, 0.1, when={"adapter.rank": (8, 16)}),
        "adapter.rank": Choice((4, 8, 16), when={"quantization": ("nf4", "int8")}),
        "train.warmup": Choice((0.0, 0.1), when={"quantization": ("none",)}),
        "quantization": Choice(("none", "int8", "nf4")),
    }
)


def points(space: Space, trials: int) -> list[dict[str, Value]]:
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    return [space.suggest(study.ask()) for _ in range(trials)]


def test_conditional_domains_are_drawn_only_when_their_conditions_hold() -> None:
    for point in points(CONDITIONAL, 200):
        quantized = point["quantization"] != "none"
        assert ("train.warmup" in point) is not quantized
        assert ("adapter.rank" in point) is quantized
        assert ("adapter.dropout" in point) is (point.get("adapter.rank") in (8, 16))


def test_parameters_of_the_trial_are_the_point() -> None:
    trial = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0)).ask()
    assert CONDITIONAL.suggest(trial) == trial.params


def test_points_keep_the_order_of_the_space() -> None:
    for point in points(CONDITIONAL, 20):
        assert list(point) == [path for path in CONDITIONAL if path in point]


def test_same_seed_gives_the_same_points() -> None:
    assert points(CONDITIONAL, 20) == points(CONDITIONAL, 20)


def test_size_is_the_number_of_different_points() -> None:
    # none: 2 warm-ups; int8 and nf4: rank 4 alone, ranks 8 and 16 with three dropouts each
    assert CONDITIONAL.size() == 2 + 2 * (1 + 2 * 3)
    assert len({tuple(point.items()) for point in points(CONDITIONAL, 1000)}) == CONDITIONAL.size()


def test_size_of_a_space_without_conditions_is_the_product() -> None:
    space = Space({"a": Choice((1, 2, 3)), "b": IntUniform(1, 4), "c": Uniform(0, 1, 0.5)})
    assert space.size() == len(list(product(range(3), range(4), range(3))))


def test_size_is_infinite_with_a_continuous_domain() -> None:
    rare = LogUniform(1e-5, 1e-3, when={"quantization": ("nf4",)})
    assert Space({**CONDITIONAL, "train.learning_rate": rare}).size() == math.inf


def test_size_of_a_large_space_with_conditions_is_counted_at_once() -> None:
    parents = {f"p{index}": IntUniform(1, 1000) for index in range(5)}
    child = Choice((1, 2), when={"p0": (1,), "p1": (1, 2)})
    assert Space({**parents, "child": child}).size() == 1000**5 + 2 * 1000**3


def test_points_are_all_different_points() -> None:
    found = [tuple(point.items()) for point in CONDITIONAL.points()]
    assert len(found) == len(set(found)) == CONDITIONAL.size()
    assert {tuple(point.items()) for point in points(CONDITIONAL, 1000)} == set(found)


def test_a_continuous_space_has_no_list_of_points() -> None:
    with pytest.raises(ValueError, match="a continuous range has no grid"):
        list(Space({"a": Uniform(0.0, 1.0)}).points())


def test_combinations_count_what_is_not_continuous() -> None:
    rate = LogUniform(1e-5, 1e-3, when={"quantization": ("nf4",)})
    assert Space({**CONDITIONAL, "train.learning_rate": rate}).combinations() == CONDITIONAL.size()
    assert CONDITIONAL.combinations() == CONDITIONAL.size()


def test_a_part_has_the_parents_of_its_fields() -> None:
    assert set(CONDITIONAL.part({"adapter.dropout", "elsewhere"})) == {
        "adapter.dropout", "adapter.rank", "quantization",
    }  # fmt: skip
    assert set(CONDITIONAL.part({"quantization"})) == {"quantization"}
    assert CONDITIONAL.part(()) == {}


def test_can_be_pickled() -> None:
    copy = pickle.loads(pickle.dumps(CONDITIONAL))
    assert copy == CONDITIONAL
    assert points(copy, 10) == points(CONDITIONAL, 10)


def test_a_conditional_domain_in_words() -> None:
    assert str(CONDITIONAL["adapter.rank"]) == "4, 8, 16, when quantization is nf4 or int8"


def test_conditions_meet_drawn_steps_in_spite_of_rounding() -> None:
    space = Space({"a": Uniform(0.0, 0.2, 0.05), "b": Choice((1,), when={"a": (0.15,)})})
    assert any("b" in point for point in points(space, 100))


@pytest.mark.parametrize(
    ("domains", "message"),
    [
        ({}, "must have at least one domain"),
        (
            {"a": Choice((1, 2), when={"quantizaton": ("nf4",)}), "quantization": Choice(("nf4",))},
            "a.when.quantizaton  must name a path that is swept too, got quantizaton "
            r"\(did you mean quantization\?\)",
        ),
        (
            {"a": Choice((1,), when={"q": ("nf5",)}), "q": Choice(("none", "nf4"))},
            r'a.when.q  must be a value that q can take \(none, nf4\), got "nf5" '
            r"\(did you mean nf4\?\)",
        ),
        ({"a": Choice((1,), when={"q": ()}), "q": Choice((1,))}, "one or more values"),
        (
            {"a": Choice((1,), when={"lr": (0.5,)}), "lr": Uniform(0.0, 1.0)},
            "must name a path with a choice, steps or whole numbers",
        ),
        ({"a": Choice((1,), when={"a": (1,)})}, "a.when  must not depend on itself"),
        (
            {"a": Choice((1,), when={"b": (1,)}), "b": Choice((1,), when={"a": (1,)})},
            "must not depend on itself, got . <- . <- .",
        ),
        (
            {
                "q": Choice(("none", "nf4")),
                "a": Choice((1,), when={"q": ("nf4",)}),
                "b": Choice((1,), when={"q": ("none",), "a": (1,)}),
            },
            "b.when  must hold at times, but q would need two values at once",
        ),
    ],
)
def test_conditions_that_can_never_hold_are_refused(
    domains: dict[str, Choice], message: str
) -> None:
    with pytest.raises(SpaceError, match=message):
        Space(domains)


def test_all_issues_are_reported_at_once() -> None:
    with pytest.raises(SpaceError) as caught:
        Space({"a": Choice((1,), when={"x": (1,)}), "b": Choice((1,), when={"a": (2,), "y": (1,)})})
    assert [issue.keys for issue in caught.value.issues] == [
        ("a", "when", "x"), ("b", "when", "a"), ("b", "when", "y"),
    ]  # fmt: skip


SPACE = Space(
    {
        "quantization": Choice(("none", "nf4")),
        "train.learning_rate": LogUniform(1e-5, 10.0),
        "adapter.rank": IntUniform(4, 16, step=4, when={"quantization": ("nf4",)}),
    }
)


def test_conditions_decide_what_is_in_a_point():
    values = {"quantization": "none", "train.learning_rate": 1, "adapter.rank": 8, "more": 3}
    point, given = placed(SPACE, values)
    assert point == {"quantization": "none", "train.learning_rate": 1.0}
    assert isinstance(point["train.learning_rate"], float)
    assert given.distributions == {
        "quantization": CategoricalDistribution(("none", "nf4")),
        "train.learning_rate": FloatDistribution(1e-5, 10.0, log=True),
    }
    point, given = placed(SPACE, {**values, "quantization": "nf4"})
    assert point["adapter.rank"] == 8
    assert given.distributions["adapter.rank"] == IntDistribution(4, 16, step=4)


def test_a_missing_value_is_named():
    with pytest.raises(KeyError, match=r"adapter\.rank"):
        placed(SPACE, {"quantization": "nf4", "train.learning_rate": 1e-3})
