import pytest
import torch
from PIL import Image

from workers.encoding.collation import IGNORED, training_batch
from workers.families.prompts import PromptBuilder
from workers.memory.layers import Architecture, RowLengths
from workers.models import checkpoint_files
from workers.models.adapters import AdaptedBase
from workers.models.loading import load_base
from workers.recipe import Data, Model, Recipe

CAPTION = "a red circle on a green square and a blue one"


@pytest.fixture(scope="session")
def architecture(checkpoints):
    """Variant of a model family -> what is known of its tiny checkpoint without loading it."""
    return lambda variant: Architecture.of(checkpoint_files.find(str(checkpoints(variant)), None))


@pytest.fixture(scope="session")
def recipe_of(checkpoints):
    """Return a function: variant and points of the recipe -> recipe."""

    def make(variant, **point):
        model = Model(base=str(checkpoints(variant)), dtype="float32")
        points = {path.replace("__", "."): value for path, value in point.items()}
        return Recipe(model=model, data=Data(source="shapes")).with_point(points)

    return make


@pytest.fixture(scope="session")
def loaded():
    """Recipe -> its base with a new adapter, as a host trains it."""

    def make(recipe):
        base = load_base(recipe.model, recipe.quantization, torch.device("cpu"))
        adapted = AdaptedBase(base)
        adapted.attach("trial", recipe.adapter, recipe.train.seed)
        adapted.model.train()
        return adapted

    return make


@pytest.fixture(scope="session")
def batch_of():
    """Adapted base, rows -> a batch of so many equal rows, and the lengths of one."""

    def make(adapted, rows):
        base = adapted.base
        image = base.family.encode(base, Image.new("RGB", (32, 32), "red"))
        prompt = PromptBuilder(task="captioning").build(base.family, None, "image")
        batch = training_batch(base, [image] * rows, [prompt] * rows, [CAPTION] * rows)
        return batch, _row(base, image, batch)

    return make


def _row(base, image, batch):
    from workers.memory.layers import image_tokens, vision_tokens

    files = checkpoint_files.find(str(base.model.config._name_or_path), None)
    patches = image.get("image_grid_thw")
    vision = vision_tokens(files) if patches is None else int(patches.prod())
    shown = image_tokens(files, vision)
    learned = int((batch["labels"][0] != IGNORED).sum())
    given = batch["input_ids"].shape[1] - (0 if base.encoder_decoder else learned)
    inside = 0 if base.family.image_token(base) is None else shown  # GIT's come in front
    return RowLengths(vision=vision, image=shown, prompt=given - inside, learned=learned)
