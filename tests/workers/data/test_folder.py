import csv
import unicodedata
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest
from PIL import Image

from workers.data import files, load
from workers.data.sample import SPLITS, DataError, DataSet
from workers.recipe import Data, Split

LISTS = Split(train="train.txt", validation="validation.txt", test="test.txt")


def draw(path: Path, color: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (6, 4), (color, 255 - color, 7)).save(path)


def write_rows(folder: Path, rows: Iterable[tuple[str, str]]) -> None:
    with (folder / "captions.csv").open("w", newline="") as file:
        csv.writer(file).writerows([("image", "caption"), *rows])


def rows_for(count: int) -> list[tuple[str, str]]:
    return [
        (f"{index}.png", f"{word} {index}")
        for index in range(count)
        for word in ("picture", "drawing")
    ]


@pytest.fixture
def album(tmp_path: Path) -> Path:
    """Ten good images with two captions each."""
    for index in range(10):
        draw(tmp_path / "images" / f"{index}.png", index)
    write_rows(tmp_path, rows_for(10))
    return tmp_path


def data(folder: Path, **fields: object) -> Data:
    return Data(source="folder", path=str(folder), **fields)


def ids(dataset: DataSet) -> dict[str, list[str]]:
    return {split: [sample.id for sample in dataset.splits[split]] for split in SPLITS}


def all_ids(dataset: DataSet) -> list[str]:
    return sorted(id for part in ids(dataset).values() for id in part)


def write_lists(folder: Path, **lists: Iterable[str]) -> None:
    for split, names in lists.items():
        (folder / f"{split}.txt").write_text("".join(f"{name}\n" for name in names))


def test_a_good_folder_loads_with_all_captions(album: Path) -> None:
    dataset = load(data(album))
    assert [len(dataset.splits[split]) for split in SPLITS] == [8, 1, 1]
    assert dataset.problems == ()
    sample = dataset.splits["train"][0]
    number = Path(sample.id).stem
    assert sample.captions == (f"picture {number}", f"drawing {number}")
    assert sample.open().getpixel((0, 0)) == (int(number), 255 - int(number), 7)


def test_order_of_rows_changes_no_split(album: Path) -> None:
    first = ids(load(data(album)))
    write_rows(album, reversed(rows_for(10)))
    assert ids(load(data(album))) == first


@pytest.mark.parametrize("place", ["", "images", "Images"])
def test_images_are_found_where_people_put_them(tmp_path: Path, place: str) -> None:
    for index in range(5):
        draw(tmp_path / place / f"{index}.png", index)
    write_rows(tmp_path, rows_for(5))
    assert all_ids(load(data(tmp_path))) == [
        (Path(place) / f"{index}.png").as_posix() for index in range(5)
    ]


def test_one_image_written_in_three_ways_is_one_image(album: Path) -> None:
    names = ["0.png", "images/0.png", "./images/0.png", "images\\0.png"]
    write_rows(album, [*rows_for(10), *((name, f"as {name}") for name in names)])
    dataset = load(data(album))
    captions = {sample.id: sample.captions for part in dataset.splits.values() for sample in part}
    assert len(captions) == 10
    assert len(captions["images/0.png"]) == 6


def test_images_in_deeper_folders_are_taken_as_written(tmp_path: Path) -> None:
    rows = []
    for index in range(5):
        draw(tmp_path / "2024" / "may" / f"{index}.png", index)
        rows.append((f"2024/may/{index}.png", "a picture"))
    write_rows(tmp_path, rows)
    assert all_ids(load(data(tmp_path))) == [f"2024/may/{index}.png" for index in range(5)]


def test_limit_draws_whole_images(album: Path) -> None:
    dataset = load(data(album, limit=5))
    assert len(all_ids(dataset)) == 5
    assert all(len(sample.captions) == 2 for part in dataset.splits.values() for sample in part)
    assert all_ids(load(data(album, limit=5))) == all_ids(dataset)
    assert all_ids(load(data(album, limit=5, seed=3))) != all_ids(dataset)


def test_lists_decide_and_unlisted_images_are_not_used(album: Path) -> None:
    write_lists(album, train=["0.png", "images/1.png"], validation=["2.png"], test=["3.png"])
    assert ids(load(data(album, split=LISTS))) == {
        "train": ["images/0.png", "images/1.png"],
        "validation": ["images/2.png"],
        "test": ["images/3.png"],
    }


def damage_truncated(album: Path) -> None:
    Image.effect_noise((64, 64), 90).save(album / "images" / "0.png")
    content = (album / "images" / "0.png").read_bytes()
    (album / "images" / "0.png").write_bytes(content[: len(content) // 2])


def damage_text(album: Path) -> None:
    (album / "images" / "0.png").write_text("no image at all")


def damage_missing(album: Path) -> None:
    (album / "images" / "0.png").unlink()


def damage_directory(album: Path) -> None:
    (album / "images" / "0.png").unlink()
    (album / "images" / "0.png").mkdir()


def damage_empty(album: Path) -> None:
    rows = [(name, text) for name, text in rows_for(10) if name != "0.png"]
    write_rows(album, [*rows, ("0.png", "   ")])


def damage_bare(album: Path) -> None:
    write_rows(album, rows_for(10)[2:])


@pytest.mark.parametrize(
    ("damage", "problem"),
    [
        (damage_truncated, "images/0.png: cannot be decoded: "),
        (damage_text, "images/0.png: not an image of a known format"),
        (damage_missing, "0.png: no such image in the folder or in images/ (captions.csv line 2)"),
        (
            damage_directory,
            "0.png: no such image in the folder or in images/ (captions.csv line 2)",
        ),
        (damage_empty, "images/0.png: empty caption (captions.csv line 20)"),
        (damage_bare, "images/0.png: image without a caption in captions.csv"),
    ],
)
def test_a_bad_image_is_refused_or_skipped_by_name(
    album: Path, damage: Callable[[Path], None], problem: str
) -> None:
    damage(album)
    with pytest.raises(DataError) as refused:
        load(data(album))
    assert len(refused.value.problems) == 1
    assert refused.value.problems[0].startswith(problem)
    assert problem in str(refused.value)
    skipped = load(data(album, on_bad_sample="skip"))
    assert skipped.problems == refused.value.problems
    assert all_ids(skipped) == [f"images/{index}.png" for index in range(1, 10)]


def test_an_empty_caption_beside_a_good_one_costs_only_itself(album: Path) -> None:
    write_rows(album, [*rows_for(10), ("0.png", "")])
    skipped = load(data(album, on_bad_sample="skip"))
    assert skipped.problems == ("images/0.png: empty caption (captions.csv line 22)",)
    assert len(all_ids(skipped)) == 10


@pytest.mark.parametrize(
    ("name", "why"),
    [("../secret.png", "leads out of "), ("/etc/hostname", "is an absolute path; the file is")],
)
def test_names_outside_the_folder_are_not_followed(album: Path, name: str, why: str) -> None:
    draw(album.parent / "secret.png", 0)
    write_rows(album, [*rows_for(10), (name, "a secret")])
    skipped = load(data(album, on_bad_sample="skip"))
    (problem,) = skipped.problems
    assert problem.startswith(f"{name}: {why}")
    assert problem.endswith("(captions.csv line 22)")


def test_all_problems_are_listed_at_once(album: Path) -> None:
    damage_truncated(album)
    (album / "images" / "1.png").unlink()
    draw(album / "images" / "new.png", 99)
    write_rows(album, [*rows_for(10), ("2.png", ""), ("", "lost")])
    with pytest.raises(DataError) as refused:
        load(data(album))
    message = str(refused.value)
    assert message.startswith(f"data.path {album} has 5 problems:")
    for part in (
        "images/0.png: cannot",
        "\n  1.png: no such",
        "images/new.png: image without",
        "images/2.png: empty caption",
        "line 23: caption without an image name",
    ):
        assert part in message
    assert message.endswith("leave them out with data.on_bad_sample: skip.")


def test_hidden_files_and_other_files_are_no_images(album: Path) -> None:
    (album / "images" / "._0.png").write_text("what a Mac leaves behind")
    (album / "README.md").write_text("about")
    assert load(data(album)).problems == ()


def test_an_image_in_two_lists_stays_held_out(album: Path) -> None:
    write_lists(album, train=["0.png", "1.png"], validation=["1.png", "2.png"], test=[])
    with pytest.raises(DataError, match=r"images/1\.png: listed for train, but also listed for"):
        load(data(album, split=LISTS))
    skipped = load(data(album, split=LISTS, on_bad_sample="skip"))
    assert ids(skipped)["train"] == ["images/0.png"]
    assert ids(skipped)["validation"] == ["images/1.png", "images/2.png"]


def test_a_copy_under_another_name_stays_held_out(album: Path) -> None:
    (album / "images" / "1.png").write_bytes((album / "images" / "2.png").read_bytes())
    write_lists(album, train=["0.png", "1.png"], validation=["2.png"], test=[])
    skipped = load(data(album, split=LISTS, on_bad_sample="skip"))
    assert skipped.problems == (
        "images/1.png: listed for train, but the same image as images/2.png in validation",
    )
    assert ids(skipped)["train"] == ["images/0.png"]


@pytest.mark.parametrize("seed", range(5))
def test_shares_never_part_copies(album: Path, seed: int) -> None:
    (album / "images" / "1.png").write_bytes((album / "images" / "2.png").read_bytes())
    split = Split(train=0.4, validation=0.3, test=0.3)
    parts = ids(load(data(album, split=split, seed=seed))).values()
    assert sum({"images/1.png", "images/2.png"} <= set(part) for part in parts) == 1


def test_unknown_names_in_lists_are_problems(album: Path) -> None:
    write_lists(album, train=["0.png", "nobody.png"], validation=["2.png"], test=[])
    skipped = load(data(album, split=LISTS, on_bad_sample="skip"))
    assert skipped.problems == (
        "nobody.png: no such image in the folder or in images/ (train.txt line 2)",
    )


def test_a_missing_image_is_reported_once_though_a_list_names_it(album: Path) -> None:
    damage_missing(album)
    write_lists(album, train=["0.png", "1.png"], validation=["2.png"], test=[])
    skipped = load(data(album, split=LISTS, on_bad_sample="skip"))
    assert skipped.problems == (
        "0.png: no such image in the folder or in images/ (captions.csv line 2)",
    )
    assert ids(skipped)["train"] == ["images/1.png"]


def test_a_missing_list_is_refused(album: Path) -> None:
    write_lists(album, train=["0.png"], validation=["2.png"])
    with pytest.raises(DataError, match=r"data\.split\.test must be a file of image names"):
        load(data(album, split=LISTS, on_bad_sample="skip"))


def test_an_empty_split_is_always_refused(album: Path) -> None:
    write_lists(album, train=["0.png"], validation=[], test=["1.png"])
    with pytest.raises(DataError, match=r"leaves no image for validation .*train 1, validation 0"):
        load(data(album, split=LISTS, on_bad_sample="skip"))


def test_two_images_are_too_few_for_three_shares(tmp_path: Path) -> None:
    for index in range(2):
        draw(tmp_path / f"{index}.png", index)
    write_rows(tmp_path, rows_for(2))
    with pytest.raises(DataError, match="leaves no image for train"):
        load(data(tmp_path))


def test_no_caption_file_and_two_caption_files_are_refused(album: Path) -> None:
    (album / "metadata.jsonl").write_text("")
    with pytest.raises(DataError, match=r"it holds metadata\.jsonl and captions\.csv"):
        load(data(album))
    (album / "metadata.jsonl").unlink()
    (album / "captions.csv").unlink()
    with pytest.raises(DataError, match=r"one of metadata\.jsonl, captions\.csv, captions\.txt"):
        load(data(album))


@pytest.mark.parametrize("path", [None, "", "no/such/folder", __file__])
def test_a_path_that_is_no_folder_is_refused(path: str | None) -> None:
    with pytest.raises(DataError, match=r"data\.path must be a folder"):
        load(Data(source="folder", path=path))


def recolor(album: Path) -> None:
    draw(album / "images" / "0.png", 200)


def reword(album: Path) -> None:
    write_rows(album, [*rows_for(10)[:-1], ("9.png", "reworded")])


def test_digest_sees_pixels_captions_and_splits(album: Path) -> None:
    seen = [load(data(album)).digest, load(data(album, seed=1)).digest]
    for change in (recolor, reword):
        change(album)
        seen.append(load(data(album)).digest)
    assert load(data(album)).digest == seen[-1]
    assert len(set(seen)) == 4


def test_the_files_are_the_captions_the_lists_and_the_images_with_a_row(album: Path) -> None:
    lists = {"train": ["0.png", "1.png"], "validation": ["2.png"], "test": ["3.png"]}
    write_lists(album, **lists)
    draw(album / "images" / "bare.png", 99)
    write_rows(album, [*rows_for(4), ("gone.png", "a picture")])
    listed = files(data(album, split=LISTS))
    assert [file.name for file in listed.tables] == ["captions.csv", *(f"{n}.txt" for n in lists)]
    assert [file.name for file in listed.images] == [f"{number}.png" for number in range(4)]
    with pytest.raises(DataError) as refused:
        load(data(album, split=LISTS))
    assert refused.value.problems == listed.problems


def test_names_are_found_however_their_accents_are_composed(album: Path) -> None:
    """An archive made by macOS has them decomposed, a table mostly composed."""
    draw(album / "images" / unicodedata.normalize("NFD", "café.png"), 99)
    write_rows(album, [*rows_for(10), (unicodedata.normalize("NFC", "café.png"), "coffee")])
    dataset = load(data(album))
    assert len(all_ids(dataset)) == 11
    assert dataset.problems == ()


def test_a_name_in_another_case_is_told_apart(album: Path) -> None:
    write_rows(album, [*rows_for(9), ("9.PNG", "a drawing")])
    skipped = load(data(album, on_bad_sample="skip"))
    assert skipped.problems[0].startswith("9.PNG: no such image; there is '9.png'")


def test_an_image_with_damaged_exif_is_taken_and_counted(album: Path) -> None:
    exif = b"Exif\0\0 no such thing"
    Image.new("RGB", (6, 4), "red").save(album / "images" / "0.png", exif=exif)
    dataset = load(data(album))
    assert len(all_ids(dataset)) == 10
    (remark,) = dataset.remarks
    assert remark.startswith("1 image has damaged EXIF data")
    assert "images/0.png" in remark


@pytest.mark.parametrize(
    ("caption", "script"),
    [
        ("一只棕色的狗在草地上奔跑", "Chinese or Japanese"),
        ("สุนัขกำลังวิ่งบนสนามหญ้า", "Thai"),
        ("一只 狗 在 草地 上 跑", None),
        ("a dog, in Chinese 狗", None),
    ],
)
def test_a_script_without_spaces_is_noticed(album: Path, caption: str, script: str | None) -> None:
    write_rows(album, [(f"{index}.png", caption) for index in range(10)])
    remarks = load(data(album)).remarks
    assert [script in remark for remark in remarks] == ([True] if script else [])
