"""What follows from measured bytes, with made-up readings."""

import pytest

from workers.measures import MemoryReading
from workers.memory.footprint import LEAST, Correction, Footprint, largest

HOST = Footprint(base=100, adapter=20, activations=30, logits=10, generation=25, context=7)


def read(passing, held=120):
    return MemoryReading(peak=held + passing, held=held)


def test_without_a_reading_the_estimate_stands():
    assert Correction().of(HOST) == HOST
    assert Correction().after_step(0.0, read(5)) == Correction()  # of an unknown base


def test_the_largest_ratio_counts_and_leaves_weights_alone():
    correction = Correction()
    for passing in (20, 60, 40):
        correction = correction.after_step(HOST.step, read(passing))
    assert correction == Correction(training=1.5)
    corrected = correction.of(HOST)
    assert (corrected.activations, corrected.logits, corrected.generation) == (45, 15, 25)
    assert corrected.fixed == HOST.fixed
    assert corrected.total == HOST.fixed + 60 == 187


def test_steps_and_captions_are_corrected_apart():
    correction = Correction().after_step(HOST.step, read(40)).after_captions(25, read(100))
    assert correction == Correction(training=1.0, writing=4.0)
    assert correction.of(HOST).total == HOST.fixed + 100


def test_what_stays_is_no_part_of_what_a_step_takes():
    """Moments that the first step makes, and features that are kept from then on."""
    assert Correction().after_step(1.0, read(40, held=10_000)).training == 40
    # Kept by the very last thing that it did.
    assert Correction().after_step(1.0, MemoryReading(peak=90, held=100)).training == 0


@pytest.mark.parametrize("passing", [0, 1, 20])
def test_short_captions_do_not_lower_the_estimate_too_far(passing):
    correction = Correction().after_step(HOST.step, read(passing))
    assert correction.of(HOST) == HOST.scaled(LEAST, 1.0)


def test_of_several_hosts_the_largest_ratios_count():
    measured = [Correction(training=0.7), Correction(), Correction(training=0.6, writing=2.0)]
    assert largest(measured) == Correction(training=0.7, writing=2.0)
    assert largest([]) == Correction()
