import random

import pytest
import torch
from transformers import AutoModelForImageTextToText, AutoProcessor, GitProcessor

from workers.data import scenes
from workers.models import builtin
from workers.tiny.pretraining import Pretraining, build, pieces, text_batch

FEW = Pretraining(steps=3, batch_size=4, images=8, spelled_every=2)
KNOWN = builtin.BASES["tiny:shapes"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("base")
    build(folder, lambda line: None, FEW)
    return folder


def load(folder):
    model = AutoModelForImageTextToText.from_pretrained(folder).eval()
    return model, AutoProcessor.from_pretrained(folder)


def captions(folder, images):
    model, processor = load(folder)
    pixels = processor(images=images, return_tensors="pt")["pixel_values"]
    written = model.generate(pixel_values=pixels, max_new_tokens=12, do_sample=False)
    return processor.tokenizer.batch_decode(written, skip_special_tokens=True)


def test_loads_like_any_checkpoint(folder):
    model, processor = load(folder)
    assert model.config.model_type == "git"
    assert isinstance(processor, GitProcessor)
    assert type(processor.image_processor).__name__.endswith("Pil")
    encoded = processor(
        images=scenes.draw(scenes.scenes()[0], "x"), text="red circle", return_tensors="pt"
    )
    assert set(encoded) == {"input_ids", "attention_mask", "pixel_values"}
    assert encoded["pixel_values"].shape == (1, 3, 32, 32)
    assert model(**encoded).logits.shape[-1] == len(processor.tokenizer)


def test_generates_from_pixels_alone(folder):
    written = captions(folder, [scenes.draw(scene, "x") for scene in scenes.scenes()[:2]])
    assert len(written) == 2


def test_size_is_as_announced(folder):
    model, _ = load(folder)
    assert model.num_parameters() == KNOWN.parameters
    assert (folder / "model.safetensors").stat().st_size == KNOWN.bytes


def test_building_twice_gives_the_same_weights(folder, tmp_path):
    torch.rand(7)
    build(tmp_path, lambda line: None, FEW)
    weights = "model.safetensors"
    assert (tmp_path / weights).read_bytes() == (folder / weights).read_bytes()


def test_building_leaves_torch_as_it_was(tmp_path):
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    state = torch.get_rng_state()
    try:
        build(tmp_path, lambda line: None, FEW)
        assert torch.get_num_threads() == 2
        assert torch.equal(torch.get_rng_state(), state)
    finally:
        torch.set_num_threads(before)


def test_progress_tells_the_last_step(tmp_path):
    lines = []
    build(tmp_path, lines.append, FEW)
    assert lines[-1].startswith("step 3 of 3, loss ")


def test_text_batch_masks_padding(folder):
    _, processor = load(folder)
    batch = text_batch(processor.tokenizer, [["red"], ["red", "b", "##o", "##x"]])
    assert batch["input_ids"].shape == (2, 6)
    assert batch["attention_mask"].tolist() == [[1] * 3 + [0] * 3, [1] * 6]
    assert batch["labels"][0, 3:].tolist() == [-100] * 3
    assert torch.equal(batch["labels"][1], batch["input_ids"][1])


def test_spelling_splits_words_and_loses_nothing(folder):
    _, processor = load(folder)
    spelled = pieces("red box", 1.0, random.Random(0))
    assert spelled == ["r", "##e", "##d", "b", "##o", "##x"]
    assert pieces("red box", 0.0, random.Random(0)) == ["red", "box"]
    assert processor.tokenizer.convert_tokens_to_string(spelled) == "red box"


@pytest.mark.slow
def test_the_full_base_writes_the_base_wording_of_scenes_it_never_saw(tmp_path):
    build(tmp_path, lambda line: None)
    unseen = scenes.held_out_scenes()
    written = captions(tmp_path, [scenes.draw(scene, "unseen") for scene in unseen])
    told = [scenes.base_caption(scene) for scene in unseen]
    right = sum(text == caption for text, caption in zip(written, told, strict=True))
    assert right / len(unseen) >= 0.95
