"""What a rung takes, in pieces between which others have their turns."""

import pytest
import torch

from workers import measures
from workers.slots import meter
from workers.slots.meter import Meter


def test_pieces_add_up_also_one_that_raises_and_the_highest_peak_stays(monkeypatch):
    clock, peaks = iter([1.0, 3.0, 10.0, 10.5]), iter([7.0, 4.0])
    monkeypatch.setattr(meter.time, "monotonic", lambda: next(clock))
    monkeypatch.setattr(measures, "peak_memory", lambda device: {"measured/peak": next(peaks)})
    own = Meter(torch.device("cpu"))
    with own.running():
        pass
    with pytest.raises(ArithmeticError), own.running():
        raise ArithmeticError
    assert own.seconds == 2.5
    assert own.peak_memory == {"measured/peak": 7.0}


def test_a_cpu_has_no_peak():
    own = Meter(torch.device("cpu"))
    with own.running():
        pass
    assert own.peak_memory == {}
