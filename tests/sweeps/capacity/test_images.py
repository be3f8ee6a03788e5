"""The tokens of images that ``sweeps plan`` shows, by the headers of the data's files."""

import pytest
import torch
from PIL import Image

from sweeps.capacity import images
from sweeps.capacity.memory import local_files
from sweeps.spec.load import Sweep
from workers.memory.fit import Device
from workers.models.loading import load_base
from workers.recipe import Model

CPU = Device(gpu=False, bytes=8e9)
SIZES = {"small.png": (30, 40), "wide.jpg": (300, 60), "square.png": (120, 120), "b.png": (40, 50)}


@pytest.fixture
def folder(tmp_path):
    for name, size in SIZES.items():
        Image.new("RGB", size, "red").save(tmp_path / name)
    rows = [f"{name},a red one" for name in SIZES]
    (tmp_path / "captions.csv").write_text("\n".join(["image,caption", *rows]))
    return tmp_path


def sweep(base, folder, space=None, **model):
    values = {
        "name": "s",
        "model": {"base": str(base), **model},
        "data": {"source": "folder", "path": str(folder)},
        "search": {"space": space or {"adapter.rank": {"choice": [2, 4]}}, "trials": 2},
    }
    return Sweep.model_validate(values)


def shown(made, device=CPU):
    return list(images.lines(made, local_files(made), device))


def test_tokens_are_those_that_the_images_will_have(checkpoints, folder):
    base = load_base(Model(base=str(checkpoints("qwen2_5_vl"))), "none", torch.device("cpu"))
    tokens = {}
    for name in SIZES:
        encoded = base.family.encode(base, Image.open(folder / name))
        tokens[name] = base.family.image_places(base, encoded)
    assert max(tokens, key=tokens.get) == "square.png"
    (heading, text), *_ = shown(sweep(checkpoints("qwen2_5_vl"), folder))
    assert heading == "images"
    assert f"largest {tokens['square.png']} (square.png, 120 x 120 pixels)" in text


def test_each_resolution_of_the_space_has_its_tokens(checkpoints, folder):
    space = {"model.max_pixels": {"choice": [28 * 56, 112 * 112]}}
    found = shown(sweep(checkpoints("qwen2_5_vl"), folder, space))
    texts = [text for heading, text in found if heading == "images"]
    assert [text.partition("max_pixels ")[2] for text in texts] == ["1,568", "12,544"]
    first, second = (int(text.split("largest ")[1].split(" ")[0]) for text in texts)
    assert first < second


def test_a_turned_photo_is_taken_upright(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6  # lies on its side
    Image.new("RGB", (30, 20)).save(tmp_path / "turned.jpg", exif=exif)
    assert images._size(tmp_path / "turned.jpg") == (20, 30)


def test_an_image_that_the_processor_refuses_is_named(checkpoints, folder):
    Image.new("RGB", (2, 900)).save(folder / "small.png")
    texts = [text for _, text in shown(sweep(checkpoints("qwen2_5_vl"), folder))]
    assert any(text.startswith("small.png cannot be used: absolute aspect ratio") for text in texts)
    assert any("(square.png" in text for text in texts)


def test_processors_that_tell_no_sizes_are_tried(checkpoints, folder):
    (_, text), *_ = shown(sweep(checkpoints("minicpmv4_6"), folder))
    assert "(wide.jpg, 300 x 60 pixels)" in text


def test_a_large_image_is_named_with_what_it_takes_and_the_field(checkpoints, folder):
    Image.new("RGB", (200, 200)).save(folder / "small.png")
    base = checkpoints("internvl")
    found = dict(shown(sweep(base, folder), Device(gpu=False, bytes=1e6)))
    assert "it does not fit: model.max_pixels scales such images down" in found["  largest"]


def test_a_resolution_that_a_processor_does_not_have_is_refused(checkpoints, folder):
    made = sweep(checkpoints("git"), folder, max_pixels=10_000)
    with pytest.raises(ValueError, match=r"model\.max_pixels must be null: every image becomes"):
        shown(made)


def test_without_images_here_nothing_is_said(checkpoints):
    made = sweep(checkpoints("qwen2_5_vl"), "s3://bucket/data")
    assert shown(made) == []


def test_resolutions_that_cannot_share_a_base_are_refused(checkpoints, folder):
    space = {"model.max_pixels": {"choice": [2048, 4096]}}
    with pytest.raises(ValueError, match="max_pixels must be the same in all trials of a sweep"):
        shown(sweep(checkpoints("llava_next"), folder, space))
