import subprocess
import sys
from pathlib import Path

import pytest

from workers.data import contest
from workers.data.contest import (
    SIZES,
    UNITS,
    canonical,
    entity_of,
    is_valid,
    parse,
    question,
    same_quantity,
)


@pytest.mark.parametrize(
    ("prediction", "parsed"),
    [
        ("34 gram", (34.0, "gram")),
        ("12.5 centimetre", (12.5, "centimetre")),
        ("-5 volt", (-5.0, "volt")),
        ("2 fluid ounce", (2.0, "fluid ounce")),
        ("1.0 imperial gallon", (1.0, "imperial gallon")),
    ],
)
def test_a_prediction_is_a_number_and_a_unit(prediction: str, parsed: tuple[float, str]) -> None:
    assert parse(prediction) == parsed


@pytest.mark.parametrize(
    "prediction",
    [
        *("", "gram", "34", "34gram", "34  gram", " 34 gram", "34 gram\n", "34\tgram"),
        *("2 gms", "60 ounce/1.7 kilogram", "2.2e2 kilogram", "+2 gram", ".5 gram", "5. gram"),
        *("1,000 gram", "nan gram", "inf volt", "0x10 gram", "٣ gram", "1_0 gram", "34 Gram"),
        *("[1.0, 2.0] volt", "34 gram gram", "34 parsec", "9" * 400 + " gram"),
    ],
)
def test_all_else_is_none(prediction: str) -> None:
    assert parse(prediction) is None
    assert is_valid(prediction, "item_weight") == (prediction == "")


def test_the_unit_must_be_one_of_the_entity() -> None:
    assert is_valid("34 gram", "item_weight")
    assert is_valid("34 gram", "maximum_weight_recommendation")
    assert not is_valid("34 gram", "voltage")
    assert not is_valid("2 kilowatt", "voltage")
    with pytest.raises(ValueError, match=r"entity must be one of depth, .*; got 'colour'"):
        is_valid("", "colour")


def test_every_allowed_unit_has_a_size_and_an_entity_one_canonical_unit() -> None:
    assert {len(units) for units in UNITS.values()} == {2, 3, 6, 7, 13}
    for units in UNITS.values():
        assert len({canonical(1.0, unit)[1] for unit in units}) == 1
    assert all(sizes[base] == 1.0 for base, sizes in SIZES.items())


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("34.0 gram", "34 gram"),
        ("1 kilogram", "1000 gram"),
        ("12 inch", "1 foot"),
        ("3 foot", "1 yard"),
        ("16 ounce", "1 pound"),
        ("2000 pound", "1 ton"),
        ("8 fluid ounce", "1 cup"),
        ("2 cup", "1 pint"),
        ("4 quart", "1 gallon"),
        ("1728 cubic inch", "1 cubic foot"),
        ("0.4 volt", "400 millivolt"),
        ("", ""),
    ],
)
def test_equal_quantities(first: str, second: str) -> None:
    assert same_quantity(first, second)


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("125 gram", "12.5 gram"),
        ("5 volt", "-5 volt"),
        ("1 gallon", "1 imperial gallon"),
        ("1 ounce", "1 fluid ounce"),
        ("1 volt", ""),
        ("", "1 volt"),
        ("1 gms", "1 gms"),
    ],
)
def test_different_quantities(first: str, second: str) -> None:
    assert not same_quantity(first, second)


def test_an_unknown_unit_is_refused() -> None:
    with pytest.raises(ValueError, match=r"unit must be one of centilitre, .*; got 'gms'"):
        canonical(1.0, "gms")


def test_questions_and_entities_belong_together() -> None:
    assert question("item_weight") == "What is the item weight?"
    assert [entity_of(question(entity)) for entity in UNITS] == list(UNITS)
    assert entity_of("What is the colour?") is None
    assert entity_of("Which item weight?") is None


def test_the_rules_need_nothing_but_python() -> None:
    program = (
        "import sys, workers.data.contest; "
        "print([name for name in ('torch', 'PIL', 'urllib3', 'datasets') if name in sys.modules])"
    )
    result = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        check=True,
        cwd=Path(contest.__file__).parents[2],
    )
    assert result.stdout.strip() == "[]"
