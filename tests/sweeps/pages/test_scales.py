import math

import pytest

from search_spaces.domains import Choice, IntUniform, LogUniform
from sweeps.pages.scales import Choices, Numbers, scale_of_field, scale_of_values


def test_numbers_lie_between_the_ends_and_outliers_at_them():
    scale = Numbers(title="x", low=2, high=6)
    assert [scale.place(each) for each in (2, 3, 6, 9, -1)] == [0.0, 0.25, 1.0, 1.0, 0.0]


def test_on_a_logarithmic_scale_powers_of_ten_are_equally_far_apart():
    scale = Numbers(title="x", low=1e-4, high=1e-2, log=True)
    assert [scale.place(each) for each in (1e-4, 1e-3, 1e-2)] == pytest.approx([0, 0.5, 1])
    assert [text for _, text in scale.ticks()] == ["0.0001", "0.001", "0.01"]


@pytest.mark.parametrize("value", [None, "text", math.nan, math.inf, True])
def test_what_is_no_number_has_no_place(value):
    assert Numbers(title="x", low=0, high=1).place(value) is None


def test_zero_has_no_place_on_a_logarithmic_scale():
    assert Numbers(title="x", low=1e-3, high=1, log=True).place(0.0) is None


def test_ticks_are_round_numbers_inside_and_the_ends_where_there_are_none():
    places = Numbers(title="x", low=0.13, high=0.87).ticks()
    assert [text for _, text in places] == ["0.2", "0.4", "0.6", "0.8"]
    narrow = Numbers(title="x", low=2e-3, high=8e-3, log=True)
    assert [text for _, text in narrow.ticks()] == ["0.002", "0.008"]


def test_a_range_of_one_value_is_in_the_middle():
    scale = scale_of_values("x", [3.0, 3.0])
    assert (scale.place(3.0), scale.ticks()) == (0.5, [(0.5, "3")])


def test_results_without_numbers_still_have_a_scale():
    assert scale_of_values("x", [math.nan]).ticks() == [(0.5, "0")]


def test_a_ceiling_cuts_off_what_is_above():
    scale = scale_of_values("loss", [1.0, 2.0, 1e30], ceiling=4.0)
    assert (scale.low, scale.high, scale.place(1e30)) == (1.0, 4.0, 1.0)


def test_choices_have_equal_room_in_their_order_and_strangers_none():
    scale = Choices(title="q", values=("none", 8, 4))
    assert [scale.place(each) for each in ("none", 8, 4)] == pytest.approx([1 / 6, 0.5, 5 / 6])
    assert scale.place("int8") is None
    assert [text for _, text in scale.ticks()] == ["none", "8", "4"]


def test_a_field_s_scale_is_wide_enough_for_trials_beyond_its_domain():
    assert scale_of_field("q", Choice(("a", "b")), ["b", "c"]).values == ("a", "b", "c")
    wide = scale_of_field("lr", LogUniform(1e-3, 1e-1), [1e-4, 1e-2])
    assert (wide.low, wide.high, wide.log) == (1e-4, 1e-1, True)
    assert not scale_of_field("n", IntUniform(1, 5), []).log
