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


def test_without_nvidia_smi_there_is_no_card(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert cards() == []


def test_cards_have_names_and_bytes(monkeypatch, tmp_path):
    program = tmp_path / "nvidia-smi"
    program.write_text("#!/bin/sh\necho 'NVIDIA A10, 23028'\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/bin")
    assert cards() == [device.Card(name="NVIDIA A10", bytes=23028 * 2**20)]
