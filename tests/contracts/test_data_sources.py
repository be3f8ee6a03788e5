"""What every data source keeps to; a new one joins with a line in `RECIPES`."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import datasets
import pytest
from PIL import Image

from workers import data as sources
from workers.data.sample import SPLITS, DataSet, Sample
from workers.recipe import Data


def folder(path: Path) -> Data:
    lines = []
    for index in range(12):
        Image.new("RGBA", (8, 5 + index), (index, 0, 0, 200)).save(path / f"{index}.png")
        lines.append(json.dumps({"file_name": f"{index}.png", "captions": [f"strip {index}"] * 2}))
    (path / "metadata.jsonl").write_text("\n".join(lines))
    return Data(source="folder", path=str(path))


def huggingface(path: Path) -> Data:
    images = [Image.new("LA", (8, 5 + index), (index, 200)) for index in range(12)]
    features = datasets.Features({"image": datasets.Image(), "text": datasets.Value("string")})
    columns = {"image": images, "text": [f"strip {index}" for index in range(12)]}
    datasets.Dataset.from_dict(columns, features).save_to_disk(str(path / "saved"))
    return Data(source="huggingface", path=str(path / "saved"))


def shapes(path: Path) -> Data:
    return Data(source="shapes", limit=30)


RECIPES: dict[str, Callable[[Path], Data]] = {
    "folder": folder,
    "huggingface": huggingface,
    "shapes": shapes,
}


@pytest.fixture(params=sources.NAMES)
def data(request: pytest.FixtureRequest, tmp_path: Path) -> Data:
    return RECIPES[request.param](tmp_path)


@pytest.fixture
def dataset(data: Data) -> DataSet:
    return sources.load(data)


def samples(dataset: DataSet) -> list[Sample]:
    return [sample for split in SPLITS for sample in dataset.splits[split]]


def test_train_and_validation_are_filled(dataset: DataSet) -> None:
    assert tuple(dataset.splits) == SPLITS
    assert dataset.splits["train"]
    assert dataset.splits["validation"]
    assert dataset.problems == ()


def test_no_image_is_in_two_splits(dataset: DataSet) -> None:
    ids = [sample.id for sample in samples(dataset)]
    assert len(set(ids)) == len(ids)


def test_images_are_rgb_and_captions_say_something(dataset: DataSet) -> None:
    for sample in samples(dataset):
        assert sample.open().mode == "RGB"
        assert sample.captions
        assert all(caption.strip() for caption in sample.captions)


def test_loading_twice_gives_the_same_set(data: Data, dataset: DataSet) -> None:
    again = sources.load(data)
    assert again.digest == dataset.digest
    assert [(sample.id, sample.captions, sample.open().tobytes()) for sample in samples(again)] == [
        (sample.id, sample.captions, sample.open().tobytes()) for sample in samples(dataset)
    ]


def test_limit_bounds_the_images_and_changes_the_digest(data: Data, dataset: DataSet) -> None:
    fewer = sources.load(data.model_copy(update={"limit": 10}))
    assert len(samples(fewer)) == 10
    assert fewer.digest != dataset.digest


def test_the_seed_changes_the_set(data: Data, dataset: DataSet) -> None:
    assert sources.load(data.model_copy(update={"seed": 1})).digest != dataset.digest


def test_an_unknown_source_is_refused_with_the_known_ones() -> None:
    with pytest.raises(ValueError, match=r"one of folder, huggingface, shapes; got 'foldr'"):
        sources.load(Data(source="foldr"))


def test_naming_the_sources_imports_nothing_heavy() -> None:
    program = (
        "import sys, workers.data; print(len(workers.data.NAMES), "
        "[name for name in ('torch', 'PIL', 'datasets', 'numpy') if name in sys.modules])"
    )
    result = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        check=True,
        cwd=Path(sources.__file__).parents[2],
    )
    assert result.stdout.split() == [str(len(RECIPES)), "[]"]
