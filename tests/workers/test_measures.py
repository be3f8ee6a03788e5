import struct

import pytest
import torch

from workers import measures
from workers.host.host import Host
from workers.measures import MEASURES, MemoryReading, Meter, latency_ms, reported_as, shared
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
    clock, peaks = iter([1.0, 3.0, 10.0, 10.5]), iter([7e9, 4e9])
    monkeypatch.setattr(measures.time, "monotonic", lambda: next(clock))
    monkeypatch.setattr(measures, "read_memory", lambda _: MemoryReading(peak=next(peaks), held=0))
    own = Meter(torch.device("cpu"))
    with shared([own]):
        pass
    with pytest.raises(ArithmeticError), shared([own]):
        raise ArithmeticError
    assert own.seconds == 2.5
    assert own.peak_memory == {"measured/peak_memory_gb": 7.0}


def test_the_memory_of_a_piece_is_read_once_for_all_who_ask(monkeypatch):
    readings = []

    def memory_stats(device):
        readings.append(device)
        return {"allocated_bytes.all.peak": 5e9, "allocated_bytes.all.current": 2e9}

    monkeypatch.setattr(torch.cuda, "memory_stats", memory_stats)
    monkeypatch.setattr(torch.cuda, "reset_peak_memory_stats", lambda device: None)
    meters = [Meter(torch.device("cuda:0")) for _ in range(3)]
    with shared(meters) as memory:
        assert memory() == memory() == MemoryReading(peak=5e9, held=2e9)
    assert len(readings) == 1
    assert [meter.peak_memory for meter in meters] == 3 * [{"measured/peak_memory_gb": 5.0}]


def test_memory_is_measured_on_gpus_only():
    own = Meter(torch.device("cpu"))
    with shared([own]) as memory:
        assert memory() is None
    assert own.peak_memory == {}
    measures.forget_peak_memory(torch.device("cpu"))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_the_peak_is_that_since_it_was_forgotten():
    device = torch.device("cuda:0")
    torch.zeros(250_000_000, device=device)
    measures.forget_peak_memory(device)
    kept = torch.zeros(25_000_000, device=device)
    assert 1e8 <= measures.read_memory(device).peak < 9e8
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
