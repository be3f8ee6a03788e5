"""Schedules, order of examples, and the normalisation of accumulated losses."""

from itertools import pairwise

import pytest

from workers.recipe import Train
from workers.training import epoch_windows, learning_rate, steps_per_epoch


def rates(decay, steps=10, warmup=0.2):
    train = Train(learning_rate=1.0, warmup=warmup, decay=decay)
    return [learning_rate(step, steps, train) for step in range(steps)]


def test_the_rate_rises_to_its_peak_and_then_decays():
    falling = [left / 8 for left in range(8, 0, -1)]
    assert rates("linear") == pytest.approx([0.5, 1, *falling])
    assert rates("constant") == [0.5] + [1.0] * 9
    cosine = rates("cosine")
    assert cosine[2] == 1.0
    assert cosine[6] == pytest.approx(0.5)
    assert all(one > later for one, later in pairwise(cosine[2:]))


def test_no_warm_up_starts_at_the_peak():
    assert rates("linear", warmup=0.0)[0] == 1.0


def test_every_example_comes_once_per_epoch_in_windows_of_micro_batches():
    train = Train(batch_size=3, accumulate=2, seed=7)
    windows = list(epoch_windows(20, 0, train))
    assert len(windows) == steps_per_epoch(20, train) == 4
    assert [[len(batch) for batch in window] for window in windows] == [[3, 3]] * 3 + [[2]]
    assert sorted(row for window in windows for batch in window for row in batch) == list(range(20))


def test_the_order_depends_on_seed_and_epoch_only():
    train = Train(batch_size=4, seed=3)
    first = list(epoch_windows(32, 1, train))
    assert list(epoch_windows(32, 1, train)) == first
    assert list(epoch_windows(32, 2, train)) != first
    assert list(epoch_windows(32, 1, Train(batch_size=4, seed=4))) != first
    regrouped = [
        row
        for w in epoch_windows(32, 1, Train(batch_size=2, accumulate=2, seed=3))
        for batch in w
        for row in batch
    ]
    assert regrouped == [row for window in first for batch in window for row in batch]
