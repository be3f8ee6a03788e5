from dataclasses import replace

import pytest

from workers.memory import fit
from workers.memory.fit import Device, micro_batch, slots
from workers.memory.footprint import Footprint

ONE = Footprint(base=50, adapter=2, activations=5, logits=3, generation=4, context=6)
"""In a host: 56 once, 10 for each slot."""


def gpu(size):
    return Device(gpu=True, bytes=size)


@pytest.mark.parametrize(
    ("size", "count"), [(73, 1), (74, 1), (84.4, 1), (84.5, 2), (151.2, 8), (1e9, 16)]
)
def test_as_many_slots_as_fit_in_nine_tenths(size, count):
    assert slots(ONE, gpu(size), 100) == count
    assert count == 1 or ONE.times(count).total <= 0.9 * size < 1e9


def test_no_more_slots_than_trials_and_fewer_on_a_cpu():
    assert slots(ONE, gpu(1e9), 3) == 3
    found = [slots(ONE, Device(gpu=False, bytes=1e9, hosts=hosts), 100) for hosts in (1, 2, 4)]
    assert found == [4, 2, 2]


def test_base_and_context_are_there_once():
    three = ONE.times(3)
    assert three == replace(ONE, adapter=6, activations=15, logits=9, generation=12)
    assert (ONE.total, three.total) == (66, 86)


def test_writing_captions_can_be_the_peak():
    assert replace(ONE, generation=30).total == 88


def test_rows_are_halved_until_one_trial_fits():
    def at(rows):
        return replace(ONE, activations=5 * rows, logits=0)

    assert [micro_batch(at, 12, gpu(size)) for size in (1000, 110, 82, 75, 10)] == [12, 6, 3, 1, 1]


def test_captions_that_do_not_fit_leave_the_rows_of_a_step_alone():
    def at(rows):
        return replace(ONE, activations=rows, logits=0, generation=1000)

    assert micro_batch(at, 12, gpu(100)) == 12


def test_what_a_trial_needs_at_least_is_one_row():
    one = replace(ONE, activations=15, logits=3, generation=60)
    assert fit.least(one, evaluated=16) == pytest.approx(58 + 18 / fit.UPPER)
    assert fit.least(one, evaluated=2) == pytest.approx(58 + 30 / fit.UPPER)


def test_features_count_while_there_is_room_and_not_in_what_is_needed_at_least():
    keeping = replace(ONE, features=10)
    assert keeping.total == ONE.total + 10
    assert keeping.times(3).features == 10
    assert fit.least(keeping, evaluated=16) == fit.least(ONE, evaluated=16)
    assert micro_batch(lambda rows: replace(keeping, activations=5 * rows), 4, gpu(90)) == 2
    assert micro_batch(lambda rows: replace(ONE, activations=5 * rows), 4, gpu(90)) == 4
    assert gpu(160).features == 10
    assert Device(gpu=False, bytes=160).features == 0


def test_slots_of_a_pack_take_the_rows_of_its_arena():
    packed = replace(ONE, arenas=1)
    assert [packed.times(slots).adapter for slots in (1, 3, 5)] == [2, 8, 16]
    assert replace(ONE, arenas=2).times(10).adapter == 32  # five in each


def test_a_pack_copies_its_weights_to_write_captions():
    copying = replace(ONE, copies=3)
    assert copying.total == ONE.total  # a step takes more
    assert replace(copying, generation=30).times(2).total == 56 + 2 * (2 + 30 + 3)
    least = fit.least(replace(copying, activations=0), evaluated=1)
    assert least == pytest.approx(58 + 4 / fit.UPPER + 3)
