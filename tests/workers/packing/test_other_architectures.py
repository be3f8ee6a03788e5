"""A pack on bases without a family of their own trains each slot as plain peft trains it alone."""

import csv
from dataclasses import replace

import pytest
import torch
from PIL import Image

from workers import traits
from workers.features.store import Store
from workers.models.adapters import adapted_layers
from workers.models.loading import load_base
from workers.packing.eligible import why_not_packed
from workers.packing.pack import Pack
from workers.training.loop import Examples

CPU = torch.device("cpu")
SIZES = [(64, 64), (160, 64), (64, 160), (96, 64), (64, 96), (72, 48)]
VARIED = [
    {"adapter.rank": 4, "train.batch_size": 3},
    {"adapter.rank": 8, "adapter.alpha": 4.0, "train.batch_size": 2, "train.seed": 1},
    {"adapter.rank": 3, "adapter.targets": "text", "train.batch_size": 1, "train.epochs": 1},
]
"""Points of three trials."""
pytestmark = pytest.mark.filterwarnings("ignore:model.base is of type")


@pytest.fixture(scope="module")
def album(tmp_path_factory):
    """A folder of images of unlike shapes."""
    folder = tmp_path_factory.mktemp("album")
    with (folder / "captions.csv").open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["image", "caption"])
        for number, size in enumerate(SIZES * 2):
            Image.linear_gradient("L").rotate(30 * number).resize(size).save(
                folder / f"{number}.png"
            )
            rows.writerow([f"{number}.png", "a box " * (1 + number % 3)])
    return folder


@pytest.fixture
def trained_alike(album, make_recipe, checkpoints, train_pack, train_plain, product_distance,
                  examples_of, tmp_path, monkeypatch):  # fmt: skip
    """Return a function that trains points packed and with plain peft, and compares."""
    monkeypatch.setenv("SWEEPS_CACHE", str(tmp_path))

    def check(architecture, points, *, features):
        data = {"data.source": "folder", "data.path": str(album), "data.limit": 12}
        recipes = {
            f"trial-{number}": make_recipe(checkpoints(architecture), **data, **point)
            for number, point in enumerate(points)
        }
        first = recipes["trial-0"]
        seen = traits.see(load_base(first.model, "none", CPU))
        base = load_base(first.model, "none", CPU)
        base = replace(base, family=base.family.having(seen))
        for recipe in recipes.values():
            layers = adapted_layers(recipe.adapter, base)
            assert why_not_packed(recipe, base.family, layers) is None
        examples = examples_of(base, first)
        if features:
            examples = Examples.of(base, examples.samples, store=Store.of(base))
            assert examples.images([0])[0]["pixel_values"].shape[1] == 1
        pack = Pack(base)
        losses = train_pack(pack, recipes, examples)
        for name, recipe in recipes.items():
            expected, products = train_plain(recipe)
            assert losses[name] == pytest.approx(expected, abs=1e-4)
            assert product_distance(pack, name, products) < 1e-4

    return check


@pytest.mark.parametrize("architecture", ["qwen3_vl", "qwen3_5_moe", "smolvlm", "mllama"])
def test_text_with_kept_features_trains_as_with_plain_peft(architecture, trained_alike):
    trained_alike(architecture, VARIED, features=True)


@pytest.mark.slow
@pytest.mark.parametrize("architecture", ["gemma3", "internvl", "llava_next", "minicpmv4_6"])
def test_text_with_kept_features_does_so_elsewhere(architecture, trained_alike):
    trained_alike(architecture, VARIED, features=True)


@pytest.mark.parametrize("architecture", ["qwen3_vl_moe", "internvl"])
def test_text_with_pixels_trains_as_with_plain_peft(architecture, trained_alike):
    trained_alike(architecture, VARIED, features=False)


def test_an_image_encoder_with_a_row_for_each_image_trains_as_with_plain_peft(trained_alike):
    seen = [{**VARIED[0], "adapter.targets": "vision"}, {**VARIED[1], "adapter.targets": "all"}]
    trained_alike("llava", [*seen, VARIED[2]], features=False)
