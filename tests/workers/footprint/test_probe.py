import pytest

from workers.footprint.footprint import Footprint
from workers.footprint.probe import LEAST, Probe, correction

HOST = Footprint(base=100, adapter=20, activations=30, logits=10, generation=25, context=7)


def test_without_a_probe_the_estimate_stands():
    assert correction([]) == 1.0


def test_the_largest_factor_counts_and_leaves_weights_alone():
    probes = [Probe(estimated=HOST, peak=peak) for peak in (140, 180)]
    assert [probe.factor for probe in probes] == [0.5, 1.5]
    corrected = HOST.scaled(correction(probes))
    assert (corrected.activations, corrected.logits, corrected.generation) == (45, 15, 37.5)
    assert corrected.fixed == HOST.fixed
    assert corrected.total == HOST.fixed + 60 == 187


def test_where_captions_take_more_they_are_compared():
    busy = Footprint(base=100, adapter=0, activations=10, logits=0, generation=50, context=0)
    assert Probe(estimated=busy, peak=200).factor == 2.0


@pytest.mark.parametrize("peak", [0, 90, 120, 125])
def test_short_captions_do_not_lower_the_estimate_too_far(peak):
    assert correction([Probe(estimated=HOST, peak=peak)]) == LEAST
