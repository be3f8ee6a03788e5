import struct

import pytest
import torch

from workers import measures
from workers.host.host import Host
from workers.measures import MEASURES, Meter, latency_ms, reported_as, shared
from workers.metrics.catalog import METRICS
from workers.models.adapters import WEIGHTS, read_weights


def test_measures_have_names_of_their_own():
    outputs = {output for metric in METRICS.values() for output in metric.outputs}
    assert not {*MEASURES} & {*outputs, "loss", "rung"}
    assert (reported_as("adapter_mb"), reported_as("cider")) == ("measured/adapter_mb", "val/cider")


def test_the_first_batch_warms_up():
    assert latency_ms([[9.0, 9.0], [0.1, 0.1], [0.3]]) == pytest.approx(100)
    assert latency_ms([[0.2, 0.2]]) == pytest.approx(200)


def test_nothing_is_said_of_captions_that_were_not_written():
    assert measures.times(training=2.0, writing=[]) == {"measured/seconds_per_epoch": 2.0}


def test_pieces_add_up_also_one_that_raises_and_the_highest_peak_stays(monkeypatch):
    clock, peaks = iter([1.0, 3.0, 10.0, 10.5]), iter([7.0, 4.0])
    monkeypatch.setattr(measures.time, "monotonic", lambda: next(clock))
    monkeypatch.setattr(measures, "peak_memory", lambda device: {"measured/peak": next(peaks)})
    own = Meter(torch.device("cpu"))
    with shared([own]):
        pass
    with pytest.raises(ArithmeticError), shared([own]):
        raise ArithmeticError
    assert own.seconds == 2.5
    assert own.peak_memory == {"measured/peak": 7.0}


def test_memory_is_measured_on_gpus_only():
    own = Meter(torch.device("cpu"))
    with shared([own]):
        pass
    assert own.peak_memory == {}
    measures.forget_peak_memory(torch.device("cpu"))
    assert measures.peak_memory(torch.device("cpu")) == {}


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_the_peak_is_that_since_it_was_forgotten():
    device = torch.device("cuda:0")
    torch.zeros(250_000_000, device=device)
    measures.forget_peak_memory(device)
    kept = torch.zeros(25_000_000, device=device)
    peak = measures.peak_memory(device)["measured/peak_memory_gb"]
    assert 0.1 <= peak < 0.9
    del kept


@pytest.fixture(scope="module")
def host():
    made = Host(device="cpu")
    yield made
    made.close()


@pytest.mark.parametrize("adapter", [{}, {"bias": "all"}, {"variant": "dora"}])
def test_the_size_is_that_of_the_exported_weights(host, recipe, tmp_path, adapter):
    changed = recipe.with_point({f"adapter.{name}": value for name, value in adapter.items()})
    baseline = host.admit("one", changed)
    host.export("one", tmp_path)
    parameters = sum(tensor.numel() for tensor in read_weights(tmp_path).values())
    host.evict("one")
    written = (tmp_path / WEIGHTS).read_bytes()
    header = 8 + struct.unpack("<Q", written[:8])[0]
    assert baseline.metrics["measured/adapter_mb"] * 1e6 == len(written) - header
    assert baseline.metrics["measured/trainable_parameters"] == parameters


def test_a_rung_reports_its_times(host, recipe):
    host.admit("one", recipe)
    report = host.advance("one")
    host.evict("one")
    assert 0 < report.metrics["measured/seconds_per_epoch"] < report.seconds
    assert 0 < report.metrics["measured/latency_ms"] < report.seconds * 1e3
    assert report.metrics.keys() >= {"measured/adapter_mb", "measured/trainable_parameters"}
