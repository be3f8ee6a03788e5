from types import SimpleNamespace

import pynvml
import pytest

from sweeps.capacity import device
from sweeps.capacity.device import cards, machine_bytes, memory_of


@pytest.mark.parametrize(
    ("text", "size"),
    [("24", 24e9), ("24GB", 24e9), (" 80 GiB", 80 * 2**30), ("1.5tb", 1.5e12), ("512MiB", 2**29)],
)
def test_sizes_as_people_write_them(text, size):
    assert memory_of(text) == size


@pytest.mark.parametrize("text", ["", "much", "0GB", "24 bananas", "-24GB", "24,5GB"])
def test_what_is_no_size_is_named(text):
    with pytest.raises(ValueError, match="--gpu-memory must be a size above 0 such as 24GB"):
        memory_of(text)


def test_a_container_has_its_own_limit(tmp_path):
    limit = tmp_path / "memory.max"
    whole = machine_bytes(limit)
    limit.write_text("max\n")
    assert machine_bytes(limit) == whole > 0
    limit.write_text("1000000\n")
    assert machine_bytes(limit) == 1e6


def test_without_a_driver_there_is_no_card(monkeypatch):
    def missing():
        raise pynvml.NVMLError(pynvml.NVML_ERROR_LIBRARY_NOT_FOUND)

    monkeypatch.setattr(pynvml, "nvmlInit", missing)
    assert cards() == []


def test_cards_have_names_and_bytes(monkeypatch):
    names = ["NVIDIA H100", "NVIDIA A10"]
    driver = {
        "Init": lambda: None,
        "DeviceGetCount": lambda: len(names),
        "DeviceGetHandleByIndex": lambda index: index,
        "DeviceGetName": names.__getitem__,
        "DeviceGetMemoryInfo": lambda index: SimpleNamespace(total=[80 * 2**30, 22 * 2**30][index]),
    }
    for name, answer in driver.items():
        monkeypatch.setattr(pynvml, f"nvml{name}", answer)
    assert cards() == [
        device.Card(name="NVIDIA H100", bytes=80 * 2**30),
        device.Card(name="NVIDIA A10", bytes=22 * 2**30),
    ]
