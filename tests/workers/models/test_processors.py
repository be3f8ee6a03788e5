"""Processors for images and text alone, whatever the original wants."""

import json
import pickle
import shutil

import pytest
import torch
from PIL import Image

from workers.models import processors
from workers.models.loading import load_base
from workers.recipe import Model

CPU = torch.device("cpu")


def test_a_processor_for_videos_is_left_out_and_saved_under_the_originals_name(checkpoints):
    loaded = processors.load(str(checkpoints("qwen2_5_vl")), None)
    assert loaded.get_attributes() == ["image_processor", "tokenizer"]
    assert loaded.to_dict()["processor_class"] == "Qwen2_5_VLProcessor"
    assert type(loaded.image_processor).__name__.endswith("Pil")


@pytest.mark.parametrize("name", ["PixtralProcessor", "SmolVLMProcessor", "MiniCPMV4_6Processor"])
def test_what_only_videos_need_is_not_asked_for(name):
    """Pixtral's module imports torchvision, SmolVLM wants num2words, MiniCPM reads its videos'."""
    made = processors.image_only(name)
    assert made.__name__ == name
    assert made.get_attributes() == ["image_processor", "tokenizer"]


def test_decoders_get_a_processor_by_pickle(checkpoints):
    loaded = processors.load(str(checkpoints("qwen2_5_vl")), None)
    picture = Image.effect_noise((90, 60), 64).convert("RGB")
    made = [
        each(images=[picture], text=["<|image_pad|>"], return_tensors="pt")
        for each in (loaded, pickle.loads(pickle.dumps(loaded)))
    ]
    assert torch.equal(made[0]["pixel_values"], made[1]["pixel_values"])
    assert torch.equal(made[0]["input_ids"], made[1]["input_ids"])


def test_a_class_that_cannot_be_built_is_told_from_missing_files(checkpoints, tmp_path):
    folder = shutil.copytree(checkpoints("qwen2_5_vl"), tmp_path / "copy")
    file = folder / "processor_config.json"
    saved = json.loads(file.read_text())
    saved["image_processor"]["size"] = "large"
    file.write_text(json.dumps(saved))
    with pytest.raises(ValueError, match=r"model\.base: the processor of .* cannot be loaded") as e:
        load_base(Model(base=str(folder)), "none", CPU)
    assert "missing" not in str(e.value)
