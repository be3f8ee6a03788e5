from collections.abc import Iterable
from pathlib import Path

import pytest
from PIL import Image

from workers.data import load
from workers.data.sample import SPLITS, DataError, DataSet
from workers.recipe import Data

HEADER = "index,image_link,group_id,entity_name,entity_value"
LINK = "https://m.media-amazon.com/images/I"


def write(file: Path, header: str, rows: Iterable[str]) -> Path:
    file.write_text("\n".join([header, *rows]))
    return file


@pytest.fixture
def challenge(tmp_path: Path) -> Path:
    """Images as the challenge's script downloads them, and both files."""
    (tmp_path / "images").mkdir()
    for number in range(10):
        Image.new("RGB", (6, 4 + number)).save(tmp_path / "images" / f"{number}.jpg")
    train = [f"{number},{LINK}/{number}.jpg,7,item_weight,{number}.5  gram" for number in range(8)]
    train.append(f"8,{LINK}/3.jpg,7,maximum_weight_recommendation,12 kilogram")
    write(tmp_path / "train.csv", HEADER, train)
    test = [f"0,{LINK}/8.jpg,7,voltage", f"4,{LINK}/9.jpg,7,width", f"5,{LINK}/9.jpg,7,height"]
    write(tmp_path / "test.csv", HEADER.removesuffix(",entity_value"), test)
    return tmp_path


def data(path: Path, **fields: object) -> Data:
    return Data(source="amazon-vqa", path=str(path), images="images", **fields)


def ids(dataset: DataSet) -> list[list[str]]:
    return [[sample.id for sample in dataset.splits[split]] for split in SPLITS]


def test_rows_are_questions_with_answers(challenge: Path) -> None:
    dataset = load(data(challenge))
    samples = {sample.id: sample for part in dataset.splits.values() for sample in part}
    assert samples["train/2"].question == "What is the item weight?"
    assert samples["train/2"].captions == ("2.5 gram",)
    assert samples["train/8"].question == "What is the maximum weight recommendation?"
    assert samples["train/8"].open().size == (6, 7)
    assert dataset.problems == ()


def test_test_rows_keep_their_index_and_have_no_answer(challenge: Path) -> None:
    test = load(data(challenge)).splits["test"]
    assert [(sample.id, sample.captions) for sample in test] == [("0", ()), ("4", ()), ("5", ())]
    assert [sample.question for sample in test][1:] == ["What is the width?", "What is the height?"]


@pytest.mark.parametrize("seed", range(5))
def test_questions_about_one_image_stay_together(challenge: Path, seed: int) -> None:
    parts = ids(load(data(challenge, seed=seed)))
    assert sum({"train/3", "train/8"} <= set(part) for part in parts) == 1
    assert sum(len(part) for part in parts) == 12


def test_one_file_is_divided_by_shares(challenge: Path) -> None:
    parts = ids(load(data(challenge / "train.csv").model_copy(update={"images": "images"})))
    assert sorted(id for part in parts for id in part) == [str(number) for number in range(9)]


def test_an_empty_value_is_the_answer_that_there_is_none(challenge: Path) -> None:
    rows = [f"{number},{LINK}/{number}.jpg,7,wattage, " for number in range(8)]
    dataset = load(data(write(challenge / "train.csv", HEADER, rows)))
    assert {sample.captions for sample in dataset.splits["train"]} == {("",)}


def test_a_file_without_index_counts_its_rows(challenge: Path) -> None:
    rows = [f"{LINK}/{number}.jpg,7,wattage,{number} watt" for number in range(8)]
    file = write(challenge / "train.csv", HEADER.removeprefix("index,"), rows)
    assert sorted(id for part in ids(load(data(file))) for id in part) == [
        str(number) for number in range(8)
    ]


def test_bad_rows_are_refused_or_skipped_by_line(challenge: Path) -> None:
    with (challenge / "train.csv").open("a") as file:
        file.write(f"\n9,{LINK}/1.jpg,7,colour,red\n10,,7,width,1 inch\n3,{LINK}/2.jpg,7,width,x")
    with pytest.raises(DataError) as refused:
        load(data(challenge))
    assert [problem[:70] for problem in refused.value.problems] == [
        "train.csv line 11: entity_name must be one of depth, height, item_volu",
        "train.csv line 12: row without an image_link",
        "train/3: more than one sample has this id",
    ]
    skipped = load(data(challenge, on_bad_sample="skip"))
    assert sum(len(part) for part in ids(skipped)) == 12


@pytest.mark.parametrize("column", ["image_link", "entity_name", "entity_value"])
def test_a_missing_column_is_refused_with_those_found(challenge: Path, column: str) -> None:
    write(challenge / "train.csv", HEADER.replace(column, "other"), ["0,a,b,c,d"])
    with pytest.raises(DataError, match=rf"must have a column {column}; its columns are index, "):
        load(data(challenge))
