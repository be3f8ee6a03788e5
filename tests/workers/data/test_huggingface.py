from collections.abc import Callable, Iterable, Mapping
from io import BytesIO
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import datasets
import pyarrow.parquet as pq
import pytest
from PIL import Image

from workers.data.huggingface import files, load
from workers.data.sample import SPLITS, DataError, DataSet, Sample
from workers.recipe import Columns, Data, Split

KNOWN = "AVIF, BMP, GIF, JPEG, JPEG2000, PNG, PPM, TIFF or WEBP"
OWN = Split(train="train", validation="dev", test="test")


@pytest.fixture(autouse=True)
def _cache_in_tmp(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", str(tmp_path / "cache"))


def png(color: int) -> bytes:
    buffer = BytesIO()
    Image.new("RGB", (6, 4), (color, 0, 0)).save(buffer, "PNG")
    return buffer.getvalue()


def table(colors: Iterable[int], image: str = "image", **columns: list[Any]) -> datasets.Dataset:
    images = [{"bytes": png(color), "path": None} for color in colors]
    part = datasets.Dataset.from_dict({image: images, **columns})
    return part.cast_column(image, datasets.Image())


def words(colors: Iterable[int]) -> list[str]:
    return [f"red {color}" for color in colors]


def save(folder: Path, part: Any) -> str:
    part.save_to_disk(str(folder / "saved"))
    return str(folder / "saved")


def data(path: str, **fields: object) -> Data:
    return Data(source="huggingface", path=path, **fields)


def samples(dataset: DataSet) -> dict[str, Sample]:
    return {sample.id: sample for part in dataset.splits.values() for sample in part}


def sizes(dataset: DataSet) -> list[int]:
    return [len(dataset.splits[split]) for split in SPLITS]


def as_parquet(folder: Path, part: datasets.Dataset) -> str:
    part.to_parquet(str(folder / "set.parquet"))
    return str(folder / "set.parquet")


def as_parquet_folder(folder: Path, part: datasets.Dataset) -> str:
    (folder / "set").mkdir()
    return str(Path(as_parquet(folder / "set", part)).parent)


@pytest.mark.parametrize("write", [save, as_parquet, as_parquet_folder])
def test_what_the_library_writes_loads(
    tmp_path: Path, write: Callable[[Path, datasets.Dataset], str]
) -> None:
    dataset = load(data(write(tmp_path, table(range(10), text=words(range(10))))))
    assert sizes(dataset) == [8, 1, 1]
    sample = samples(dataset)["train/000007"]
    assert sample.captions == ("red 7",)
    assert sample.open().getpixel((0, 0)) == (7, 0, 0)


@pytest.mark.parametrize(
    "columns",
    [
        {"captions": [["one", "two"]] * 5},
        {"caption": [["one", "two"]] * 5, "text": ["other"] * 5},
        {"sentences": [[{"raw": "one", "id": 1}, {"raw": "two", "id": 2}]] * 5},
        {"caption_0": ["one"] * 5, "caption_1": ["two"] * 5},
    ],
)
def test_caption_columns_are_recognized(tmp_path: Path, columns: Mapping[str, list[Any]]) -> None:
    dataset = load(data(save(tmp_path, table(range(5), **columns))))
    assert {sample.captions for sample in samples(dataset).values()} == {("one", "two")}


def test_the_only_image_and_the_only_string_are_taken_whatever_their_names(tmp_path: Path) -> None:
    part = table(range(5), "photo", said=words(range(5)), number=list(range(5)))
    assert samples(load(data(save(tmp_path, part))))["train/000003"].captions == ("red 3",)


def test_rows_with_the_same_image_are_one_image(tmp_path: Path) -> None:
    colors = [*range(6), *range(6)]
    captions = [*words(range(6)), *(f"more {color}" for color in range(6))]
    dataset = load(data(save(tmp_path, table(colors, text=captions))))
    assert sum(sizes(dataset)) == 6
    assert samples(dataset)["train/000004"].captions == ("red 4", "more 4")


def own_splits(**colors: Iterable[int]) -> datasets.DatasetDict:
    return datasets.DatasetDict(
        {name: table(list(part), text=words(part)) for name, part in colors.items()}
    )


def test_own_splits_are_used_by_name_and_pooled_by_shares(tmp_path: Path) -> None:
    path = save(tmp_path, own_splits(train=range(6), dev=range(6, 8), test=range(8, 10)))
    named = load(data(path, split=OWN))
    assert sizes(named) == [6, 2, 2]
    assert {sample.id for sample in named.splits["validation"]} == {"dev/000000", "dev/000001"}
    assert sizes(load(data(path))) == [8, 1, 1]


def test_a_copy_in_two_own_splits_stays_held_out(tmp_path: Path) -> None:
    path = save(tmp_path, own_splits(train=range(6), dev=range(5, 8), test=range(8, 10)))
    with pytest.raises(DataError, match=r"train/000005: listed for train, but the same image as"):
        load(data(path, split=OWN))
    skipped = load(data(path, split=OWN, on_bad_sample="skip"))
    assert sizes(skipped) == [5, 3, 2]


def test_an_unknown_own_split_is_refused(tmp_path: Path) -> None:
    path = save(tmp_path, own_splits(train=range(6), test=range(8, 10)))
    with pytest.raises(DataError, match=r"data\.split\.validation must be one of train, test"):
        load(data(path, split=OWN))


def test_bad_rows_are_refused_or_skipped_by_name(tmp_path: Path) -> None:
    images = [{"bytes": png(color), "path": None} for color in range(8)]
    images[1] = {"bytes": b"no image", "path": None}
    images[2] = None
    texts = [*words(range(7)), "  "]
    part = datasets.Dataset.from_dict({"image": images, "text": texts})
    path = save(tmp_path, part.cast_column("image", datasets.Image()))
    with pytest.raises(DataError) as refused:
        load(data(path))
    assert set(refused.value.problems) == {
        f"train/000001: not an image of a known format: {KNOWN}",
        "train/000002: cannot be read: the row has no image",
        "train/000007: empty caption, or none that is text",
    }
    skipped = load(data(path, on_bad_sample="skip"))
    assert set(samples(skipped)) == {f"train/00000{index}" for index in (0, 3, 4, 5, 6)}
    assert skipped.problems == refused.value.problems


def test_a_row_that_names_a_device_is_refused(tmp_path: Path) -> None:
    rows = {"image": [{"bytes": None, "path": "/dev/zero"}] * 6, "text": words(range(6))}
    part = datasets.Dataset.from_dict(rows).cast_column("image", datasets.Image())
    # Written by hand: the library would read the device while it writes.
    pq.write_table(part.data.table, tmp_path / "set.parquet")
    with pytest.raises(DataError, match="train/000000: cannot be read: no such file: /dev/zero"):
        load(data(str(tmp_path / "set.parquet")))


def test_limit_counts_images(tmp_path: Path) -> None:
    colors = [*range(12), *range(12)]
    path = save(tmp_path, table(colors, text=[f"row {row}" for row in range(24)]))
    dataset = load(data(path, limit=6))
    assert sum(sizes(dataset)) == 6
    assert all(len(sample.captions) == 2 for sample in samples(dataset).values())


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"text": ["a"] * 4}, "no column of images; its columns are text"),
        (
            {"image": [{"bytes": png(0), "path": None}] * 4, "number": [1] * 4},
            "that is known to hold",
        ),
    ],
)
def test_a_set_without_the_needed_columns_is_refused(
    tmp_path: Path, columns: Mapping[str, list[Any]], message: str
) -> None:
    with pytest.raises(DataError, match=message):
        load(data(save(tmp_path, datasets.Dataset.from_dict(dict(columns)))))


def test_a_path_that_holds_no_set_is_refused(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="cannot be loaded as a data set"):
        load(data(str(tmp_path / "empty")))
    with pytest.raises(DataError, match="must be a hub name, folder or file; got None"):
        load(Data(source="huggingface"))


def test_columns_can_be_named(tmp_path: Path) -> None:
    rows = {"said": words(range(6)), "asked": ["what?"] * 6, "key": list(range(100, 106))}
    part = table(range(6), "photo", caption=["wrong"] * 6, **rows)
    columns = Columns(image="photo", caption="said", question="asked", id="key")
    found = samples(load(data(save(tmp_path, part), columns=columns)))
    assert found["train/103"].captions == ("red 3",)
    assert found["train/103"].question == "what?"


@pytest.mark.parametrize("field", ["image", "caption", "question", "id"])
def test_a_wrong_column_is_refused_with_those_found(tmp_path: Path, field: str) -> None:
    path = save(tmp_path, table(range(4), text=words(range(4))))
    with pytest.raises(DataError, match=rf"columns\.{field} must be .*'nme', .* are image, text"):
        load(data(path, columns=Columns(**{field: "nme"})))


def test_questions_about_one_image_are_samples_of_one_split(tmp_path: Path) -> None:
    colors = [*range(6), *range(6)]
    asked = ["what?"] * 6 + ["where?"] * 6
    path = save(tmp_path, table(colors, answer=words(colors), asked=asked))
    columns = Columns(caption="answer", question="asked")
    for seed in range(3):
        dataset = load(data(path, columns=columns, seed=seed))
        assert sum(sizes(dataset)) == 12
        assert all(size % 2 == 0 for size in sizes(dataset))


def test_an_empty_question_is_refused_by_name(tmp_path: Path) -> None:
    path = save(tmp_path, table(range(5), text=words(range(5)), q=["a?", None, "", "b?", "c?"]))
    with pytest.raises(DataError) as refused:
        load(data(path, columns=Columns(question="q")))
    assert refused.value.problems == (
        "train/000001: empty question",
        "train/000002: empty question",
    )


def test_an_id_that_comes_again_is_refused(tmp_path: Path) -> None:
    path = save(tmp_path, table(range(5), text=words(range(5)), key=[1, 2, 3, 3, 4]))
    with pytest.raises(DataError, match="train/3: more than one sample has this id"):
        load(data(path, columns=Columns(id="key")))


def test_only_test_may_be_without_captions(tmp_path: Path) -> None:
    parts = datasets.DatasetDict(train=table(range(6), text=words(range(6))), test=table([8, 9, 8]))
    path = save(tmp_path, parts)
    dataset = load(data(path, split=Split(train="train", validation=0.2, test="test")))
    assert sizes(dataset) == [5, 1, 3]
    assert {sample.captions for sample in dataset.splits["test"]} == {()}
    with pytest.raises(DataError, match="no column that is known to hold captions"):
        load(data(path))


def test_a_hub_name_that_cannot_be_reached_says_what_to_do(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    with pytest.raises(
        DataError, match=r"data\.path nobody/nothing at data\.revision v9 cannot .*"
    ):
        load(data("nobody/nothing", revision="v9"))
    with pytest.raises(DataError, match=r"as a hub name it needs a connection, or a copy from"):
        load(data("nobody/nothing"))


def test_a_revision_of_a_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"data\.revision is for sets on the hub"):
        load(data(str(tmp_path), revision="v1"))


def test_of_a_folder_of_images_the_files_are_those_that_the_metadata_names(tmp_path: Path) -> None:
    folder = tmp_path / "photos"
    folder.mkdir()
    for color in range(4):
        (folder / f"{color}.png").write_bytes(png(color))
    rows = "".join(f"{color}.png,red {color}\n" for color in range(3))
    (folder / "metadata.csv").write_text(f"file_name,text\n{rows}")
    (folder / "hf_token").write_text("hush")
    (folder / "notes.json").write_text("{}")
    link = tmp_path / "link"
    link.symlink_to(folder)
    for path in (folder, link):
        listed = files(data(str(path)))
        assert listed.tables == (path / "metadata.csv",)
        assert listed.images == tuple(path / f"{color}.png" for color in range(3))


def test_a_file_is_all_of_its_set_and_a_set_on_the_hub_has_no_file_here(tmp_path: Path) -> None:
    path = as_parquet(tmp_path, table(range(3), text=words(range(3))))
    (tmp_path / "other.parquet").write_bytes(b"")
    assert files(data(path)).tables == (Path(path),)
    assert files(data("someone/photos")).tables == ()


def test_a_saved_set_has_the_files_of_its_splits(tmp_path: Path) -> None:
    part = table(range(3), text=words(range(3)))
    path = Path(save(tmp_path, datasets.DatasetDict(train=part, test=part)))
    (path / "train" / "cache-1.arrow").write_bytes(b"")
    assert {file.relative_to(path).as_posix() for file in files(data(str(path))).tables} == {
        "dataset_dict.json",
        *(
            f"{split}/{name}"
            for split in ("train", "test")
            for name in ("state.json", "dataset_info.json", "data-00000-of-00001.arrow")
        ),
    }


def test_what_cannot_be_loaded_has_no_list_of_files(tmp_path: Path) -> None:
    (tmp_path / "broken.parquet").write_bytes(b"none")
    with pytest.raises(DataError, match="cannot be loaded as a data set"):
        files(data(str(tmp_path / "broken.parquet")))


def test_images_in_other_columns_are_not_decoded(eps: SimpleNamespace, tmp_path: Path) -> None:
    others = [{"bytes": eps.content, "path": None}] * 6
    part = table(range(6), text=words(range(6)), other=others)
    path = save(tmp_path, part.cast_column("other", datasets.Image()))
    with pytest.raises(DataError, match="empty caption, or none that is text"):
        load(data(path, columns=Columns(image="image", caption="other")))
    assert not eps.started.exists()


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("https://example.org/a.png", "the row has a link, 'https://example.org/a.png'"),
        ("aGVsbG8gd29ybGQ=" * 40, "seems to be an image in Base64"),
        ("photos/a.png", "no such file: 'photos/a.png', looked for in the working folder"),
    ],
)
def test_texts_in_the_column_of_images_are_told_apart(tmp_path: Path, text: str, why: str) -> None:
    rows = {"image": [text] * 6, "text": words(range(6))}
    datasets.Dataset.from_dict(rows).save_to_disk(str(tmp_path / "set"))
    with pytest.raises(DataError, match="cannot be read") as refused:
        load(Data(source="huggingface", path=str(tmp_path / "set")))
    assert why in refused.value.problems[0]
