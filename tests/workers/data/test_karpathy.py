import json
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from workers.data import load
from workers.data.sample import SPLITS, DataError, DataSet
from workers.recipe import Data, Split

OWN = ("train", "restval", "restval", "train", "val", "val", "test", "test")


def image(number: int, split: str, **fields: object) -> dict[str, Any]:
    sentences = [{"raw": f"Text {each} of {number}.", "tokens": []} for each in range(2)]
    return {"filename": f"{number}.png", "split": split, "sentences": sentences, **fields}


def write(folder: Path, images: list[Any]) -> Path:
    file = folder / "dataset_own.json"
    file.write_text(json.dumps({"images": images, "dataset": "own"}))
    return file


def draw(place: Path) -> None:
    place.mkdir(parents=True, exist_ok=True)
    for number in range(len(OWN)):
        Image.new("RGB", (6, 4 + number)).save(place / f"{number}.png")


def data(path: Path, **fields: object) -> Data:
    return Data(source="karpathy", path=str(path), **fields)


def ids(dataset: DataSet) -> list[list[str]]:
    return [[sample.id for sample in dataset.splits[split]] for split in SPLITS]


@pytest.fixture
def images(tmp_path: Path) -> list[dict[str, Any]]:
    draw(tmp_path / "images")
    return [image(number, split) for number, split in enumerate(OWN)]


def test_its_own_splits_are_kept_and_restval_is_trained_on(
    tmp_path: Path, images: list[dict[str, Any]]
) -> None:
    dataset = load(data(write(tmp_path, images)))
    assert ids(dataset) == [
        ["0.png", "1.png", "2.png", "3.png"],
        ["4.png", "5.png"],
        ids(dataset)[2],
    ]
    assert ids(dataset)[2] == ["6.png", "7.png"]
    assert dataset.splits["train"][1].captions == ("Text 0 of 1.", "Text 1 of 1.")
    assert dataset.splits["train"][1].open().size == (6, 5)


def test_shares_divide_anew(tmp_path: Path, images: list[dict[str, Any]]) -> None:
    write(tmp_path, images)
    assert [len(part) for part in ids(load(data(tmp_path, split=Split())))] == [6, 1, 1]


def test_coco_files_name_folders_and_numbers(tmp_path: Path) -> None:
    draw(tmp_path / "val2014")
    images = [
        image(number, split, filepath="val2014", cocoid=1000 + number)
        for number, split in enumerate(OWN)
    ]
    assert ids(load(data(write(tmp_path, images))))[1] == ["1004", "1005"]
    (tmp_path / "val2014").rename(tmp_path / "elsewhere")
    (tmp_path / "photos").mkdir()
    (tmp_path / "elsewhere").rename(tmp_path / "photos" / "val2014")
    assert ids(load(data(tmp_path, images="photos")))[2] == ["1006", "1007"]


def test_bad_images_are_refused_or_skipped_by_name(
    tmp_path: Path, images: list[dict[str, Any]]
) -> None:
    images[0]["split"] = "hidden"
    images[1]["sentences"] = [{"tokens": ["a"]}]
    images[2]["filename"] = "gone.png"
    images += ["nothing", image(3, "test")]
    with pytest.raises(DataError) as refused:
        load(data(write(tmp_path, images)))
    assert set(refused.value.problems) == {
        "0.png: split must be one of train, restval, val, validation, test; got 'hidden' "
        "(dataset_own.json image 1)",
        "dataset_own.json image 2: must be an object with filename and sentences, each with raw",
        "dataset_own.json image 9: must be an object with filename and sentences, each with raw",
        "gone.png: no such image in the folder or in images/ (dataset_own.json image 3)",
        "3.png: more than one sample has this id",
        "images/3.png: listed for train, but also listed for test",
    }


def test_named_splits_are_refused(tmp_path: Path, images: list[dict[str, Any]]) -> None:
    split = Split(train="train", validation="val", test="test")
    with pytest.raises(DataError, match=r"data\.split must be left out, or be shares"):
        load(data(write(tmp_path, images), split=split))
