"""Limits of pixels: in the options of each processor, and refused by name where it has none."""

import numpy as np
import pytest
import torch
from PIL import Image

from workers.encoding import collation
from workers.evaluation.generation import generate
from workers.families.prompts import Prompt
from workers.host.host import Host
from workers.models.loading import at_resolution, load_base
from workers.recipe import Model

LEAST = {
    "aya_vision": 32**2,
    "gemma4": 70 * 8**2,
    "glm4v": 28**2,
    "idefics2": 32**2,
    "internvl": 32**2,
    "llava_next": 32 * 64,
    "llava_onevision": 32 * 64,
    "minicpmv4_6": 64**2,
    "mistral3": 8**2,
    "qwen2_5_vl": 28**2,
    "qwen3_vl": 32**2,
    "smolvlm": 32**2,
}
"""Architecture -> the fewest pixels that ``model.max_pixels`` can be for its tiny checkpoint."""
FIXED = {
    "blip2-opt": "32 x 32",
    "gemma3": "32 x 32",
    "git": "224 x 224",
    "llava": "32 x 32",
    "mllama": "a vector for each division",
    "paligemma": "32 x 32",
}
PROMPT = Prompt(system=None, text="what?")


def noise(width, height):
    random = np.random.default_rng(width)
    return Image.fromarray(random.integers(0, 256, (height, width, 3), np.uint8))


def load(folder, **limits):
    return load_base(Model(base=str(folder), **limits), "none", torch.device("cpu"))


def places(base, image):
    return base.family.image_places(base, base.family.encode(base, image))


@pytest.mark.filterwarnings("ignore:model.base is of type")
@pytest.mark.parametrize("name", LEAST)
def test_a_large_image_is_scaled_to_the_limit(name, checkpoints):
    large, small = noise(300, 200), noise(40, 50)
    own = load(checkpoints(name))
    base = load(checkpoints(name), max_pixels=LEAST[name])
    if name not in ("gemma4", "idefics2"):  # each image has equally many tokens there
        assert places(base, large) < places(own, large)
    images = [base.family.encode(base, image) for image in (large, small)]
    batch = collation.training_batch(base, images, [PROMPT] * 2, ["a disc", "two"])
    inputs = collation.on_device(base, base.family.training_inputs(base, batch))
    with torch.no_grad():  # the model finds as many features as there are places
        assert torch.isfinite(base.model(**inputs).logits).all()
    assert len(generate(base, base.model, images, [PROMPT] * 2, beams=1, max_new_tokens=2)) == 2
    must = (
        rf"model.max_pixels must be at least {LEAST[name]}, .*, got {LEAST[name] - 1}; .*Processor"
    )
    if name != "idefics2":  # whose edge may be as short as one likes
        with pytest.raises(ValueError, match=must):
            load(checkpoints(name), max_pixels=LEAST[name] - 1)


@pytest.mark.filterwarnings("ignore:model.base is of type")
@pytest.mark.parametrize("name", FIXED)
def test_a_processor_of_one_size_is_refused_by_name(name, checkpoints):
    for field in ("min_pixels", "max_pixels"):
        must = f"model.{field} must be null: .*{FIXED[name]}.*, got 4096; .*ImageProcessor"
        with pytest.raises(ValueError, match=must):
            load(checkpoints(name), **{field: 4096})


def test_a_small_image_is_enlarged_to_the_least(checkpoints):
    small = noise(40, 50)
    own = load(checkpoints("qwen2_5_vl"))
    larger = load(checkpoints("qwen2_5_vl"), min_pixels=112 * 112, max_pixels=224 * 224)
    assert places(larger, small) * 28**2 >= 112 * 112 > places(own, small) * 28**2


def test_resolutions_share_a_base_and_train_as_if_alone(checkpoints, recipe):
    base = {"model.base": str(checkpoints("qwen2_5_vl")), "train.epochs": 1}
    limits = [{"model.max_pixels": pixels, "train.seed": 3} for pixels in (28 * 56, 112 * 112)]
    recipes = [recipe.with_point({**base, **each}) for each in limits]

    def losses(names, host):
        for name in names:
            host.admit(name, recipes[int(name)])
        return [host.advance(name).metrics["train/loss"] for name in names]

    together = Host(device="cpu", threads=1)
    found = losses(["0", "1"], together)
    assert len(together.residents) == 1
    together.close()
    for number in (0, 1):
        alone = Host(device="cpu", threads=1)
        assert losses([str(number)], alone) == pytest.approx([found[number]], abs=1e-5)
        alone.close()
    assert abs(found[0] - found[1]) > 1e-5


@pytest.mark.filterwarnings("ignore:model.base is of type")
def test_sizes_that_the_model_reads_too_are_one_choice_for_a_base(checkpoints):
    model = Model(base=str(checkpoints("llava_next")))
    base = load_base(model, "none", torch.device("cpu"))
    with pytest.raises(ValueError, match="must be the same in all trials of a sweep: the model"):
        at_resolution(base, model.model_copy(update={"max_pixels": 4096}), model)
