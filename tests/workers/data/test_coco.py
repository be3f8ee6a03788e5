import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from workers.data import load
from workers.data.sample import SPLITS, DataError, DataSet
from workers.recipe import Data, Split


def content(numbers: Iterable[int], year: str = "train2017") -> dict[str, Any]:
    numbers = list(numbers)
    return {
        "images": [{"id": number, "file_name": f"{number:012d}.png"} for number in numbers],
        "annotations": [
            {"id": 10 * number + each, "image_id": number, "caption": f"Text {each}\nof {number}"}
            for each in range(2)
            for number in reversed(numbers)
        ],
    }


def draw(place: Path, numbers: Iterable[int]) -> None:
    place.mkdir(parents=True, exist_ok=True)
    for number in numbers:
        Image.new("RGB", (6, 4 + number), (number, 0, 0)).save(place / f"{number:012d}.png")


def write(file: Path, value: object) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(value))
    return file


@pytest.fixture
def release(tmp_path: Path) -> Path:
    """A folder as COCO is unpacked: six images of train, four of val."""
    draw(tmp_path / "train2017", range(6))
    draw(tmp_path / "val2017", range(6, 10))
    write(tmp_path / "annotations" / "captions_train2017.json", content(range(6)))
    write(tmp_path / "annotations" / "captions_val2017.json", content(range(6, 10)))
    return tmp_path


FILES = Split(train="captions_train2017.json", validation=0.3, test="captions_val2017.json")


def data(path: Path, **fields: object) -> Data:
    return Data(source="coco", path=str(path), **fields)


def ids(dataset: DataSet) -> list[list[str]]:
    return [[sample.id for sample in dataset.splits[split]] for split in SPLITS]


def test_files_are_splits(release: Path) -> None:
    dataset = load(data(release, split=FILES))
    train, validation, test = ids(dataset)
    assert sorted(train + validation) == [str(number) for number in range(6)]
    assert (len(validation), test) == (2, [str(number) for number in range(6, 10)])
    sample = dataset.splits["test"][1]
    assert sample.captions == ("Text 0 of 7", "Text 1 of 7")
    assert sample.open().size == (6, 11)


def test_one_file_is_divided_by_shares(release: Path) -> None:
    file = release / "annotations" / "captions_train2017.json"
    assert [len(part) for part in ids(load(data(file)))] == [4, 1, 1]


@pytest.mark.parametrize("place", ["", "images", "val2014", "images/val2017"])
def test_images_are_found_where_people_put_them(tmp_path: Path, place: str) -> None:
    draw(tmp_path / place, range(5))
    write(tmp_path / "captions_own.json", content(range(5)))
    assert sum(len(part) for part in ids(load(data(tmp_path)))) == 5


def test_the_folder_of_images_can_be_named(tmp_path: Path) -> None:
    draw(tmp_path / "jpegs", range(5))
    file = write(tmp_path / "annotations" / "captions.json", content(range(5)))
    assert sum(len(part) for part in ids(load(data(file, images="jpegs")))) == 5


def test_bad_items_are_refused_or_skipped_by_name(tmp_path: Path) -> None:
    draw(tmp_path, range(8))
    value = content(range(8))
    value["images"][0] = {"id": 0}
    value["images"] += ["nothing", {"id": 77, "file_name": "bare.png"}]
    value["annotations"] += [
        {"image_id": 3, "caption": " "},
        {"image_id": True, "caption": "x"},
        {"image_id": 4, "caption": None},
        {"image_id": 99, "caption": "of nobody"},
    ]
    file = write(tmp_path / "captions.json", value)
    (tmp_path / "000000000005.png").write_text("no image")
    with pytest.raises(DataError) as refused:
        load(data(file))
    assert set(refused.value.problems) == {
        "captions.json image 1: must be an object with id and file_name",
        "captions.json image 9: must be an object with id and file_name",
        "bare.png: image without a caption (captions.json image 10)",
        "captions.json annotation 18: must be an object with image_id and caption",
        "captions.json annotation 19: must be an object with image_id and caption",
        "captions.json: captions for image_id 99, which it lacks",
        "000000000003.png: empty caption (captions.json image 4)",
        "000000000005.png: not an image of a known format: "
        "AVIF, BMP, GIF, JPEG, JPEG2000, PNG, PPM, TIFF or WEBP",
    }
    skipped = load(data(file, on_bad_sample="skip"))
    assert sorted(id for part in ids(skipped) for id in part) == ["1", "2", "3", "4", "6", "7"]


def test_one_id_for_two_images_is_refused(tmp_path: Path) -> None:
    draw(tmp_path, range(6))
    value = content(range(6))
    value["images"].append({"id": 5, "file_name": "000000000004.png"})
    with pytest.raises(DataError, match="5: more than one sample has this id"):
        load(data(write(tmp_path / "captions.json", value)))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[1]", "must be an object with lists images and annotations; it has list"),
        ('{"images": [], "info": 1}', "lists images and annotations; it has images, info"),
        ("{", "captions.json: must be JSON"),
        ("[" * 100_000, "captions.json: must be JSON"),
    ],
)
def test_other_files_are_refused(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "captions.json").write_text(text)
    with pytest.raises(DataError, match=message):
        load(data(tmp_path))


def test_a_folder_with_none_or_two_files_is_refused(release: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"it holds captions_train2017\.json and captions_val2017"):
        load(data(release))
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match=r"must hold one file captions\*\.json or .* holds none"):
        load(data(tmp_path / "empty"))
