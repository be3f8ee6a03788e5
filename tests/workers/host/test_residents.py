"""Which trials of a host train in a pack, where the base has a say in it."""

import pytest
import torch

from workers.evaluation.scoring import Scoring
from workers.host.residents import Residents
from workers.memory.fit import Device
from workers.memory.layers import DataExtent
from workers.packing.pack import Pack
from workers.recipe import Data, Model, Recipe


@pytest.fixture
def residents():
    residents = Residents(torch.device("cpu"), Scoring(), packing=True)
    yield residents
    residents.close()


@pytest.mark.parametrize(
    ("variant", "targets", "reason"),
    [
        ("qwen2_5_vl", "text_all", None),
        ("qwen2_5_vl", "all", "its adapted layers see all images in one row"),
        ("git", "all", None),
        ("qwen3_vl", "text_all", None),
        ("llava", "all", None),
        (
            "smolvlm",
            "all",
            "model.vision_model.encoder.layers.0.self_attn.k_proj was not seen to get equally many "
            "tokens of each row, row after row",
        ),
    ],
)
def test_an_image_encoder_that_joins_images_cannot_be_adapted_in_a_pack(
    variant, targets, reason, checkpoints, residents, tmp_path, monkeypatch
):
    monkeypatch.setenv("SWEEPS_CACHE", str(tmp_path))
    recipe = Recipe(model=Model(base=str(checkpoints(variant))), data=Data(source="shapes"))
    recipe = recipe.with_point({"adapter.targets": targets})
    assert residents.why_not_packed(recipe) == reason
    assert isinstance(residents.trainer(recipe), Pack) == (reason is None)


def test_what_nobody_uses_leaves_the_device(residents, recipe, tmp_path, monkeypatch):
    monkeypatch.setenv("SWEEPS_CACHE", str(tmp_path))
    other = recipe.with_point({"model.dtype": "bfloat16"})
    residents.trainer(recipe).admit("one", recipe)
    residents.trainer(other)
    store = residents.examples(recipe).pixels._store
    kept = residents.examples(recipe).images([0])[0]
    assert list(tmp_path.rglob("*.safetensors")) == []
    assert len(residents) == 2
    assert residents.device_memory.attempt(failing_once()) == "done"
    assert len(residents) == 1  # the one with a slot
    assert list(tmp_path.rglob("*.safetensors"))
    again = residents.examples(recipe).images([0])[0]
    assert all(torch.equal(again[name], own) for name, own in kept.items())
    assert store._kept == {}
    with pytest.raises(RuntimeError):  # there is nothing left to take away
        residents.device_memory.attempt(failing_once())
    assert residents.trainer(other).admit("two", other)  # its base is loaded once more


def test_trials_are_counted_by_their_pack_and_the_longest_caption(recipe):
    share = Device(gpu=False, bytes=1e12)
    residents = Residents(torch.device("cpu"), Scoring(), packing=True, share=share)
    dora = recipe.with_point({"adapter.variant": "dora"})
    for name, own in {"one": recipe, "two": recipe, "alone": dora}.items():
        residents.count(name, own)
    opened = residents.device_memory._open
    assert opened["one"].pack == opened["two"].pack
    assert (opened["one"].pack is None, opened["alone"].pack) == (False, None)
    splits = residents.scoring.data_set(recipe).splits
    longest = max(len(text) for own in splits["train"] for text in own.captions)
    images = sum(map(len, splits.values()))
    assert opened["one"].data == DataExtent(images=images, question=0, caption=longest)
    residents.close()


def failing_once():
    """Work that runs out of memory the first time."""
    tries = []

    def work():
        tries.append(1)
        if len(tries) == 1:
            torch.empty(2**55)
        return "done"

    return work
