import pickle
from typing import Any

import pytest

from search_spaces.domains import Choice, IntLogUniform, IntUniform, LogUniform, Uniform
from search_spaces.forms import preset_of, read_domain, read_space
from search_spaces.issues import SpaceError, nearest
from search_spaces.presets import lora, qlora


@pytest.mark.parametrize(
    ("form", "domain"),
    [
        ({"choice": [4, None, "x"]}, Choice((4, None, "x"))),
        ({"uniform": [0, 0.5], "step": 0.25}, Uniform(0, 0.5, 0.25)),
        ({"log_uniform": [1e-5, 1e-3]}, LogUniform(1e-5, 1e-3)),
        ({"int_uniform": [2, 8], "step": 2}, IntUniform(2, 8, 2)),
        ({"int_log_uniform": [2, 8]}, IntLogUniform(2, 8)),
        ({"choice": [1], "when": {"q": "nf4"}}, Choice((1,), when={"q": ("nf4",)})),
        ({"uniform": [0, 1], "when": {"q": ["a", "b"]}}, Uniform(0, 1, when={"q": ("a", "b")})),
    ],
)
def test_reads_a_domain(form: dict[str, Any], domain: object) -> None:
    assert read_domain(form) == domain


@pytest.mark.parametrize(
    ("form", "messages"),
    [
        ([4, 8], ["must be a domain such as {choice: [4, 8]}, got [4, 8]"]),
        ({}, ["must have exactly one of choice, uniform, log_uniform, int_uniform, "
              "int_log_uniform, got none of them"]),
        ({"choise": [1]}, ["must have exactly one of choice, uniform, log_uniform, int_uniform, "
                           "int_log_uniform, got choise (did you mean choice?)"]),
        ({"choice": [1], "uniform": [1, 2]}, [
            "must have exactly one of choice, uniform, log_uniform, int_uniform, "
            "int_log_uniform, got choice, uniform"]),
        ({"choice": 4}, ["choice  must be a list of one or more texts, numbers, true, false or "
                         "null, got 4"]),
        ({"uniform": [1, 2, 3]}, ["uniform  must be a list of two numbers, the low and the high "
                                  "end, got [1, 2, 3]"]),
        ({"choice": [1], "step": 1}, ["step  must be left out: beside choice there can be when, "
                                      "got 1"]),
        ({"uniform": [2, 1], "stp": 1, "when": 3}, [
            "uniform  must have a low end below the high end, got [2, 1]",
            "stp  must be left out: beside uniform there can be step and when, got 1 "
            "(did you mean step?)",
            "when  must be a mapping from swept paths to values, such as {quantization: nf4}, "
            "got 3"]),
        ({"choice": [1], "when": {"q": {"x": 1}}},
         ['when.q  must be a value or a list of values, got {"x": 1}']),
    ],
)  # fmt: skip
def test_names_every_issue_of_a_domain(form: Any, messages: list[str]) -> None:
    with pytest.raises(SpaceError) as caught:
        read_domain(form)
    assert [str(issue).strip() for issue in caught.value.issues] == messages


def test_reads_a_preset_by_name() -> None:
    assert read_space("qlora") == qlora().space


def test_an_unknown_preset_gets_the_nearest_name() -> None:
    with pytest.raises(SpaceError, match=r'got "lroa" \(did you mean lora\?\)'):
        read_space("lroa")


def test_a_broken_domain_does_not_hide_the_conditions_of_others() -> None:
    with pytest.raises(SpaceError) as caught:
        read_space(
            {
                "a": {"uniform": [2, 1]},
                "b": {"choice": [1], "when": {"a": 1}},
                "c": {"choice": [1], "when": {"nothing": 1}},
            }
        )
    assert [issue.keys for issue in caught.value.issues] == [
        ("a", "uniform"),
        ("c", "when", "nothing"),
    ]


def test_qlora_is_lora_and_quantization() -> None:
    assert set(qlora().space) - set(lora().space) == {"quantization"}
    assert {path: qlora().space[path] for path in lora().space} == dict(lora().space)


def test_fields_are_added_to_a_preset_replaced_and_removed() -> None:
    form = {
        "preset": "qlora",
        "adapter.dropout": {"choice": [0.0, 0.1], "when": {"quantization": "nf4"}},
        "train.learning_rate": {"log_uniform": [1e-6, 1e-4]},
        "adapter.rank": None,
    }
    assert dict(read_space(form)) == {
        "train.learning_rate": LogUniform(1e-6, 1e-4),
        "quantization": qlora().space["quantization"],
        "adapter.dropout": Choice((0.0, 0.1), when={"quantization": ("nf4",)}),
    }
    assert read_space({"preset": "lora"}) == lora().space


@pytest.mark.parametrize(
    ("form", "message"),
    [
        ({"preset": "lroa"}, 'preset  must be one of lora, qlora, lora-plus-targets, optimizer, '
                             'full, got "lroa" (did you mean lora?)'),
        ({"preset": None}, "preset  must be one of"),
        ({"preset": ["lora"]}, "preset  must be one of"),
        ({"preset": "lora", "adapter.rnk": None},
         "adapter.rnk  must be a field of the preset to be removed: adapter.rank, "
         "train.learning_rate, got adapter.rnk (did you mean adapter.rank?)"),
        ({"preset": "lora", "adapter.rank": None, "train.learning_rate": None},
         "must have at least one domain"),
        ({"adapter.rank": None}, "adapter.rank  must be a domain such as"),
        ({"preset": "lora", "adapter.dropout": 5}, "adapter.dropout  must be a domain such as"),
    ],
)  # fmt: skip
def test_changes_that_no_preset_can_have_are_refused(form: Any, message: str) -> None:
    with pytest.raises(SpaceError) as caught:
        read_space(form)
    assert message in str(caught.value)


def test_the_preset_of_a_form() -> None:
    assert preset_of("lora") == preset_of({"preset": "lora", "adapter.rank": None}) == lora()
    for form in ("lroa", 5, ["lora"], {}, {"preset": ["lora"]}, lora().space):
        assert preset_of(form) is None


def test_errors_can_be_pickled() -> None:
    with pytest.raises(SpaceError) as caught:
        read_domain({"uniform": [2, 1]})
    copy = pickle.loads(pickle.dumps(caught.value))
    assert copy.issues == caught.value.issues
    assert str(copy) == str(caught.value)


@pytest.mark.parametrize(
    ("word", "name"),
    [
        ("adapter.rnak", "adapter.rank"),
        ("rank", "adapter.rank"),
        ("learning_rat", "train.learning_rate"),
        ("Adapter.Rank", "adapter.rank"),
        ("colour", None),
        (7, None),
    ],
)
def test_nearest(word: Any, name: str | None) -> None:
    assert nearest(word, ("adapter.rank", "adapter.alpha", "train.learning_rate")) == name
