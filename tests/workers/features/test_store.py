"""Memory, then disk, within limits; and what makes a key."""

import os

import pytest
import torch

from workers.features.files import TensorFiles
from workers.features.store import Allowance, Store, encoder_digest, image_digest
from workers.models.loading import load_base
from workers.recipe import Model

KEY = "pixel_values"


def features(value, size=100):
    return {KEY: torch.full((1, 1, size, 1), float(value)), "image_grid_thw": torch.tensor([[1]])}


@pytest.fixture
def base(checkpoints):
    return load_base(Model(base=str(checkpoints("git"))), "none", torch.device("cpu"))


def test_what_does_not_fit_in_memory_is_on_disk(base, tmp_path):
    store = Store(base, Allowance(500), TensorFiles(tmp_path / "f" / "git", 10**6))
    for value in range(3):
        store.put(str(value), features(value))
    assert [path.stem for path in (tmp_path / "f" / "git").iterdir() if path.stem != "0"] == [
        path.stem for path in (tmp_path / "f" / "git").iterdir()
    ]
    for value in range(3):
        found = store.get(str(value))
        assert all(torch.equal(found[name], own) for name, own in features(value).items())
    assert store.get("3") is None


def test_what_does_not_fit_beside_a_gpu_is_in_the_machines_memory_and_only_then_on_disk(
    base, tmp_path
):
    files, device, beside = (
        TensorFiles(tmp_path / "f" / "git", 10**6),
        Allowance(500),
        Allowance(500),
    )
    store = Store(base, device, files, beside)
    for value in range(2):
        store.put(str(value), features(value))
    assert not list(tmp_path.rglob("*.safetensors"))
    store.put("2", features(2))
    assert [path.stem for path in tmp_path.rglob("*.safetensors")] == ["2"]
    for value in range(3):
        assert torch.equal(store.get(str(value))[KEY], features(value)[KEY])


def test_the_stores_of_a_host_share_what_it_may_keep_and_leave_it_for_good(base, tmp_path):
    device, beside = Allowance(1000), Allowance(0)
    one, other = (
        Store(base, device, TensorFiles(tmp_path / "f" / name, 10**6), beside) for name in "ab"
    )
    one.put("0", features(0))
    other.put("1", features(1))
    other.put("2", features(2))  # no room
    assert device.used == 816
    assert [path.stem for path in tmp_path.rglob("*.safetensors")] == ["2"]
    assert one.leave_device()
    assert other.leave_device()
    assert not one.leave_device()
    assert (device.total, device.used) == (0, 0)
    one.put("3", features(3))
    assert {path.stem for path in tmp_path.rglob("*.safetensors")} == set("0123")
    assert torch.equal(one.get("0")[KEY], features(0)[KEY])


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32])
def test_another_process_reads_what_one_wrote(tmp_path, dtype):
    TensorFiles(tmp_path / "f", 10**6).put("a", {KEY: torch.ones(1, 1, 2, 3, dtype=dtype)})
    assert TensorFiles(tmp_path / "f", 10**6).get("a")[KEY].dtype == dtype


def test_the_disk_forgets_what_was_not_used_for_longest(tmp_path):
    before = TensorFiles(tmp_path / "f" / "old", 2400)
    for number, name in enumerate("abc"):
        before.put(name, features(0))
        os.utime(tmp_path / "f" / "old" / f"{name}.safetensors", (number, number))
    assert before.get("a")  # used now
    after = TensorFiles(tmp_path / "f" / "new", 2400)
    for name in "de":
        after.put(name, features(0))
    kept = {path.stem for path in (tmp_path / "f").glob("*/*")}
    assert {"a", "d", "e"} <= kept
    assert "b" not in kept
    assert sum(path.stat().st_size for path in (tmp_path / "f").glob("*/*")) <= 2400


def test_a_full_disk_keeps_what_it_has(tmp_path):
    """Else an epoch longer than the disk would push out just what it needs next."""
    disk = TensorFiles(tmp_path / "f", 2000)
    for name in "abcd":
        disk.put(name, features(0))
    assert disk.get("a")
    assert disk.get("b")
    assert disk.get("d") is None


def test_a_damaged_file_is_as_good_as_none(tmp_path):
    disk = TensorFiles(tmp_path / "f", 10**6)
    disk.put("a", features(1))
    (tmp_path / "f" / "a.safetensors").write_bytes(b"\x08garbage")
    assert disk.get("a") is None


def test_a_disk_that_cannot_be_written_stops_nothing(tmp_path):
    (tmp_path / "f").write_text("no folder")
    disk = TensorFiles(tmp_path / "f" / "g", 10**6)
    disk.put("a", features(1))
    assert disk.get("a") is None


def test_the_encoder_is_known_by_all_that_it_computes_with(base, checkpoints):
    own = encoder_digest(base)
    again = load_base(Model(base=str(checkpoints("git"))), "none", torch.device("cpu"))
    assert encoder_digest(again) == own
    for quantization, dtype in (("none", "bfloat16"), ("int8", "auto"), ("nf4", "auto")):
        model = Model(base=str(checkpoints("git")), dtype=dtype)
        other = load_base(model, quantization, torch.device("cpu"))
        assert encoder_digest(other) != own
    with torch.no_grad():
        again.model.git.image_encoder.vision_model.post_layernorm.bias[3] += 1e-3
    assert encoder_digest(again) != own
    base.model.git.embeddings.word_embeddings.weight.data.zero_()
    assert encoder_digest(base) == own  # what reads features does not change them


def test_query_tokens_count(checkpoints):
    base = load_base(Model(base=str(checkpoints("blip2-opt"))), "none", torch.device("cpu"))
    own = encoder_digest(base)
    base.model.query_tokens.data[0, 0, 0] += 1
    assert encoder_digest(base) != own


def test_an_image_is_known_by_what_the_model_gets(base):
    image = {KEY: torch.zeros(1, 3, 2, 2)}
    own = image_digest(image)
    assert image_digest({KEY: torch.zeros(1, 3, 2, 2)}) == own
    assert image_digest({KEY: torch.zeros(1, 3, 4, 1)}) != own
    assert image_digest({**image, "image_grid_thw": torch.ones(1, 3)}) != own


def test_a_base_of_unknown_ways_has_no_store(llava):
    base = load_base(Model(base=str(llava)), "none", torch.device("cpu"))
    assert Store.of(base) is None
