import os
from types import SimpleNamespace

import pynvml
import pytest

from sweeps.capacity.device import cards, machine_bytes, memory_of, name_slices, usable
from sweeps.capacity.layout import layout, local_gpus
from sweeps.capacity.table import device_of


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


@pytest.fixture
def driver(monkeypatch):
    """NVIDIA's driver of a machine with an undivided A10 and an H100 of two slices."""
    gib = {0: 22, 1: 80, (1, 0): 10, (1, 2): 40}

    def part(whole, number):
        if (whole, number) not in gib:
            raise pynvml.NVMLError(pynvml.NVML_ERROR_NOT_FOUND)
        return whole, number

    def mig_mode(whole):
        if whole == 0:
            raise pynvml.NVMLError(pynvml.NVML_ERROR_NOT_SUPPORTED)
        return [pynvml.NVML_DEVICE_MIG_ENABLE, pynvml.NVML_DEVICE_MIG_ENABLE]

    uuids = {0: "GPU-aa10", 1: "GPU-bb20", (1, 0): "MIG-cc30", (1, 2): "MIG-dd40"}
    answers = {
        "Init": lambda: None,
        "DeviceGetCount": lambda: 2,
        "DeviceGetHandleByIndex": lambda index: index,
        "DeviceGetUUID": uuids.__getitem__,
        "DeviceGetName": lambda handle: f"card {handle}",
        "DeviceGetMemoryInfo": lambda handle: SimpleNamespace(total=gib[handle] * 2**30),
        "DeviceGetMigMode": mig_mode,
        "DeviceGetMaxMigDeviceCount": lambda whole: 7,
        "DeviceGetMigDeviceHandleByIndex": part,
    }
    for name, answer in answers.items():
        monkeypatch.setattr(pynvml, f"nvml{name}", answer)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")  # so that it is put back
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES")


def test_a_divided_gpu_is_its_slices(driver):
    found = [(card.uuid, card.bytes / 2**30, card.is_slice) for card in cards()]
    assert found == [("GPU-aa10", 22, False), ("MIG-cc30", 10, True), ("MIG-dd40", 40, True)]
    assert local_gpus() == 3


@pytest.mark.parametrize(
    ("visible", "uuids"),
    [
        ("", []),
        ("-1", []),
        ("0", ["GPU-aa10"]),
        ("1", ["MIG-cc30"]),  # of a divided GPU CUDA takes the first slice
        ("MIG-dd40,GPU-aa", ["MIG-dd40", "GPU-aa10"]),
        ("MIG-GPU-bb20/1/0,MIG-GPU-bb20/2/0", ["MIG-cc30", "MIG-dd40"]),
        ("0,5,MIG-cc30", ["GPU-aa10"]),  # up to the first that is none
    ],
)
def test_what_is_visible_can_be_used(driver, visible, uuids, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    assert [card.uuid for card in usable(cards())] == uuids
    assert local_gpus() == len(uuids)


def test_hosts_get_slices_of_their_own(driver, monkeypatch):
    name_slices()
    assert os.environ["CUDA_VISIBLE_DEVICES"] == "GPU-aa10,MIG-cc30,MIG-dd40"
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "MIG-dd40")
    name_slices()
    assert os.environ["CUDA_VISIBLE_DEVICES"] == "MIG-dd40"


def test_a_plan_counts_slices_and_shares_as_what_they_are(driver, monkeypatch):
    plan = layout("auto", "auto", cpus=8, gpus=local_gpus(), gpus_per_host=0.5)
    assert plan.hosts == 6
    assert device_of(plan).bytes == 0.5 * 10 * 2**30
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "MIG-dd40")
    assert device_of(plan).bytes == 0.5 * 40 * 2**30
    assert device_of(plan, 24e9).bytes == 12e9
