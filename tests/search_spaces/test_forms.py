import pickle
from typing import Any

import pytest

from search_spaces.domains import Choice, IntLogUniform, IntUniform, LogUniform, Uniform
from search_spaces.flaws import SpaceError, nearest
from search_spaces.forms import read_domain, read_space
from search_spaces.presets import PRESETS, lora, qlora


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
def test_names_every_flaw_of_a_domain(form: Any, messages: list[str]) -> None:
    with pytest.raises(SpaceError) as caught:
        read_domain(form)
    assert [str(flaw).strip() for flaw in caught.value.flaws] == messages


def test_reads_a_preset_by_name() -> None:
    assert read_space("qlora") == qlora()


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
    assert [flaw.at for flaw in caught.value.flaws] == [("a", "uniform"), ("c", "when", "nothing")]


@pytest.mark.parametrize("name", PRESETS)
def test_presets_read_back_from_their_form(name: str) -> None:
    assert read_space(PRESETS[name]().form()) == PRESETS[name]()


def test_qlora_is_lora_and_quantization() -> None:
    assert set(qlora()) - set(lora()) == {"quantization"}
    assert {path: qlora()[path] for path in lora()} == dict(lora())


def test_errors_can_be_pickled() -> None:
    with pytest.raises(SpaceError) as caught:
        read_domain({"uniform": [2, 1]})
    copy = pickle.loads(pickle.dumps(caught.value))
    assert copy.flaws == caught.value.flaws
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
