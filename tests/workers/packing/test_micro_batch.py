import random

import pytest

from workers.packing.micro_batch import micro_batch


@pytest.fixture
def draws():
    """Rows that slots have left and the most that fit, a thousand times."""
    dice = random.Random(0)
    return [
        ([dice.randint(1, 64) for _ in range(dice.randint(1, 12))], dice.randint(1, 64))
        for _ in range(1000)
    ]


def test_a_pass_has_no_more_rows_than_fit_and_none_that_nobody_needs(draws):
    for remaining, most in draws:
        size = micro_batch(remaining, most)
        assert min(most, *remaining) <= size <= min(most, max(remaining))


def test_slots_with_equally_many_rows_are_never_filled_up(draws):
    for (rows, *others), most in draws:
        assert micro_batch([rows] * (len(others) + 1), most) == min(rows, most)


def test_one_large_batch_among_many_small_ones_is_cut_into_passes():
    assert micro_batch([64, *[2] * 11], 64) == 2
    assert micro_batch([3, 2], 64) == 3  # a second pass would cost more than one row of filling
