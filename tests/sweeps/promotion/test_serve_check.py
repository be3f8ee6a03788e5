"""The serve check: what a registered model must say, and what makes it fail."""

import base64
import io
from contextlib import closing
from dataclasses import replace

import psutil
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from sweeps.promotion import serve_check
from sweeps.promotion.serve_check import ExpectedCaptions, PlainMlflow
from workers.data.sample import Sample
from workers.inference.predict import Adapted
from workers.models.adapters import WEIGHTS, AdaptedBase, read_weights, unloaded_weights
from workers.models.loading import load_base

EXPECTED = ExpectedCaptions(
    requests=[], captions={"a": "a cat", "b": "a dog"}, quantization="nf4", weights=24,
    unloaded=(),
)  # fmt: skip
SERVED = {"captions": ["a cat", "a dog"], "quantization": "nf4"}


def test_equal_captions_and_all_weights_pass():
    check = serve_check.check(EXPECTED, SERVED)
    assert check.passed
    assert check.measured == "2 of 2 captions equal, all 24 weights loaded, quantization nf4"


def test_another_caption_fails_and_is_shown_beside_the_trials():
    served = {"captions": ["a cat", "a log"], "quantization": "none"}
    check = serve_check.check(EXPECTED, served)
    assert not check.passed
    assert check.measured == (
        "1 of 2 captions differ, such as b: 'a log' served with quantization none, "
        "'a dog' by the trial with nf4"
    )


def test_a_skipped_module_fails_though_captions_are_equal():
    check = serve_check.check(replace(EXPECTED, unloaded=("layer.lora_A.weight",)), SERVED)
    assert not check.passed
    assert "1 of the adapter's 24 weights were not loaded, such as layer.lora_A" in check.measured


def test_a_model_that_cannot_be_loaded_fails_with_its_error(tracking, tmp_path):
    with closing(PlainMlflow(tracking)) as server:
        served = server.predict(str(tmp_path / "nothing"), [])
    check = serve_check.check(EXPECTED, served)
    assert not check.passed
    assert check.measured.startswith("the registered model does not answer: ")
    assert "nothing" in check.measured


def test_a_process_that_is_asked_nothing_ends(tracking):
    before = psutil.Process().children()
    PlainMlflow(tracking).close()
    assert psutil.Process().children() == before


@pytest.fixture(scope="module")
def adapter(untrained_base, tmp_path_factory):
    """Folder of a saved adapter that changes captions, and its recipe."""
    from workers.recipe import Recipe

    recipe = Recipe.model_validate(
        {
            "model": {"base": str(untrained_base)},
            "data": {"source": "shapes"},
            "adapter": {"rank": 4, "bias": "all"},
            "evaluate": {"final_beams": 2, "max_new_tokens": 5},
        }
    )
    adapted = AdaptedBase(load_base(recipe.model, "none", torch.device("cpu")))
    adapted.attach("trial", recipe.adapter, seed=1)
    with torch.no_grad():
        for parameter in adapted.parameters("trial"):
            parameter.add_(0.1 * torch.randn_like(parameter))
    folder = tmp_path_factory.mktemp("adapter")
    adapted.save("trial", folder, recipe.model.base)
    return folder, recipe


def loaded(recipe, folder):
    return Adapted.load(recipe.model, "none", folder, "cpu")


def test_all_weights_of_an_adapter_are_found_in_the_loaded_model(adapter):
    folder, recipe = adapter
    assert any("bias" in name for name in read_weights(folder))
    assert unloaded_weights(loaded(recipe, folder).model, folder) == ()


def test_weights_that_peft_skips_without_a_word_are_named(adapter, tmp_path):
    """A layer that the base does not have, as after an upgrade that renames modules."""
    folder, recipe = adapter
    weights = read_weights(folder)
    name = next(each for each in weights if "lora_A" in each)
    renamed = name.replace(".layer.0.", ".layer.99.")
    assert renamed != name
    for file in folder.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    save_file({**weights, renamed: weights[name].clone()}, tmp_path / WEIGHTS)
    assert unloaded_weights(loaded(recipe, tmp_path).model, tmp_path) == (renamed,)


def test_weights_of_another_value_are_named(adapter):
    folder, recipe = adapter
    adapted = loaded(recipe, folder)
    name, parameter = next(
        (name, each) for name, each in adapted.model.named_parameters() if "lora_A" in name
    )
    with torch.no_grad():
        parameter.add_(1)
    assert unloaded_weights(adapted.model, folder) == (name.replace(".default", ""),)


def test_few_images_are_asked_small_and_without_loss(adapter):
    folder, recipe = adapter
    image = Image.effect_noise((3000, 20), 90).convert("RGB")
    samples = [
        Sample(id=f"{number}.png", open=lambda: image, captions=("x",)) for number in range(9)
    ]
    asked = serve_check.write_expected(loaded(recipe, folder), recipe, folder, samples)
    assert list(asked.captions) == [sample.id for sample in samples[:8]]
    assert len(asked.captions) == len(asked.requests) == 8
    assert (asked.quantization, asked.unloaded) == ("none", ())
    assert asked.weights == len(read_weights(folder))
    sent = Image.open(io.BytesIO(base64.b64decode(asked.requests[0]["image"])))
    assert (sent.size, sent.format) == ((1024, 7), "PNG")
    assert image.size == (3000, 20)
    assert asked.requests[0]["max_new_tokens"] == 5
