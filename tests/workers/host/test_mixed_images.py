"""A folder of photos as people have them: all shapes and modes of images in one batch."""

import csv

import pytest
from PIL import Image

from workers.host.host import Host
from workers.recipe import Recipe

SHAPES = [(64, 96), (96, 64), (72, 72), (48, 120), (130, 50)]
"""Widths and heights in pixels: portrait, landscape and square ones."""
ODD = [("RGB", (40, 2000)), ("RGBA", (80, 60)), ("L", (60, 80)), ("P", (64, 64))]
POINTS = {
    "first": {"adapter.rank": 4, "train.learning_rate": 1e-2},
    "second": {"adapter.rank": 8, "train.learning_rate": 3e-3, "train.batch_size": 3},
}
pytestmark = pytest.mark.filterwarnings("ignore:model.base is of type")


@pytest.fixture(scope="module")
def album(tmp_path_factory):
    """A folder of 30 images, of which each split has those of an unusual shape or mode."""
    folder = tmp_path_factory.mktemp("album")
    kinds = [("RGB", size) for size in (SHAPES * 6)[: 30 - len(ODD)]]
    kinds[3:3] = ODD[:2]
    kinds[22:22] = ODD[2:]
    rows = [("image", "caption")]
    for number, (mode, size) in enumerate(kinds):
        picture = Image.merge("RGB", [Image.linear_gradient("L").rotate(90 * (number % 4))] * 3)
        picture = picture.resize(size)
        picture.paste((255, 8 * number, 0), (0, 0, size[0] // 2, size[1] // 3))
        picture.convert(mode).save(folder / f"{number:02}.png")
        rows += [(f"{number:02}.png", "a " + "red box " * (1 + number % 3))]
        rows += [(f"{number:02}.png", "one box")] * (number % 2)
    with (folder / "captions.csv").open("w", newline="") as file:
        csv.writer(file).writerows(rows)
    for split, numbers in {
        "train": range(20),
        "validation": range(20, 27),
        "test": range(27, 30),
    }.items():
        (folder / f"{split}.txt").write_text("".join(f"{number:02}.png\n" for number in numbers))
    return folder


@pytest.fixture
def recipes(album, checkpoints, tmp_path, monkeypatch):
    """Return a function from an architecture to the recipes of two trials."""
    monkeypatch.setenv("SWEEPS_CACHE", str(tmp_path / "cache"))

    def of(architecture):
        recipe = Recipe.model_validate(
            {
                "model": {"base": str(checkpoints(architecture)), "dtype": "float32"},
                "data": {
                    "source": "folder",
                    "path": str(album),
                    "split": {s: f"{s}.txt" for s in ("train", "validation", "test")},
                },
                "train": {"epochs": 2, "batch_size": 4},
                "adapter": {"dropout": 0.0},
                "evaluate": {"metrics": ["exact_match"], "max_new_tokens": 5, "final_beams": 2},
                "guard": {"stop": False},
            }
        )
        return {name: recipe.with_point(point) for name, point in POINTS.items()}

    return of


@pytest.fixture
def make_host():
    """Return a function that makes a host, which is closed afterwards."""
    hosts = []

    def make(**options):
        hosts.append(Host(device="cpu", threads=1, **options))
        return hosts[-1]

    yield make
    for host in hosts:
        host.close()


def losses(report):
    return [report.metrics["train/loss"], report.metrics["val/loss"]]


@pytest.mark.parametrize(
    "architecture", ["qwen3_vl", "smolvlm", "internvl", "llava_onevision", "gemma3"]
)
def test_all_shapes_and_modes_train_caption_and_resume(architecture, recipes, make_host, tmp_path):
    trials = recipes(architecture)
    together, again, apart = make_host(), make_host(), make_host(packing=False)
    for name, recipe in trials.items():
        base = together.admit(name, recipe)
        assert together.why_not_packed(recipe) is None
        assert len({one.image_id for one in base.predictions}) == 7
        together.begin(name)
    rungs = {name: [together.advance(name)] for name in trials}
    together.snapshot("first", tmp_path / "snapshot")
    for name in trials:
        rungs[name].append(together.advance(name))
    again.restore("first", trials["first"], tmp_path / "snapshot")
    resumed = again.advance("first")
    assert losses(resumed) == pytest.approx(losses(rungs["first"][1]), abs=1e-5)
    assert resumed.predictions == rungs["first"][1].predictions
    for name, recipe in trials.items():
        apart.admit(name, recipe)
        for rung in rungs[name]:
            alone = apart.advance(name)
            assert losses(alone) == pytest.approx(losses(rung), abs=1e-4)
            assert alone.predictions == rung.predictions
        assert losses(rungs[name][1])[0] < losses(rungs[name][0])[0]
