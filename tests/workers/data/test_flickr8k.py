import os
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

import pytest
from PIL import Image

from workers.data import load
from workers.data.flickr8k import OFFICIAL, describe
from workers.data.sample import SPLITS, DataError, DataSet
from workers.recipe import Data, Split

LISTS = {"train": range(6), "dev": range(6, 8), "test": range(8, 10)}


def names(numbers: Iterable[int]) -> list[str]:
    return [f"{number}_ab.jpg" for number in numbers]


def draw(place: Path, count: int = 10) -> None:
    place.mkdir(parents=True, exist_ok=True)
    for number, name in enumerate(names(range(count))):
        Image.new("RGB", (6, 4 + number), (number, 0, 0)).save(place / name)


def write_text(place: Path, images: Iterable[str], lists: dict[str, Iterable[str]]) -> None:
    place.mkdir(exist_ok=True)
    lines = [
        f"{name}#{number}\tPhoto {number} of {name} ." for name in images for number in range(5)
    ]
    (place / "Flickr8k.token.txt").write_text("\n".join(lines))
    for part, listed in lists.items():
        (place / f"Flickr_8k.{part}Images.txt").write_text("\n".join([*listed, ""]))


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    draw(tmp_path / "Flicker8k_Dataset")
    write_text(tmp_path, names(range(10)), {part: names(of) for part, of in LISTS.items()})
    return tmp_path


def data(folder: Path, **fields: object) -> Data:
    return Data(source="flickr8k", path=str(folder), **fields)


def ids(dataset: DataSet) -> list[list[str]]:
    return [[sample.id for sample in dataset.splits[split]] for split in SPLITS]


def test_the_official_lists_decide(archive: Path) -> None:
    dataset = load(data(archive))
    assert ids(dataset) == [names(range(6)), names([6, 7]), names([8, 9])]
    sample = dataset.splits["train"][2]
    assert sample.captions == tuple(f"Photo {number} of 2_ab.jpg ." for number in range(5))
    assert sample.open().size == (6, 6)
    assert sample.question is None


@pytest.mark.parametrize(
    "place",
    ["", "Images", "images", "Flickr8k_Dataset", "Flickr8k_Dataset/Flicker8k_Dataset"],
)
def test_images_and_texts_are_found_where_people_unpack_them(tmp_path: Path, place: str) -> None:
    draw(tmp_path / place)
    lists = {part: names(of) for part, of in LISTS.items()}
    write_text(tmp_path / "Flickr8k_text", names(range(10)), lists)
    assert [len(part) for part in ids(load(data(tmp_path)))] == [6, 2, 2]


def test_images_may_lie_elsewhere(archive: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    elsewhere = tmp_path_factory.mktemp("disk") / "photos"
    (archive / "Flicker8k_Dataset").rename(elsewhere)
    assert [len(part) for part in ids(load(data(archive, images=str(elsewhere))))] == [6, 2, 2]
    with pytest.raises(DataError, match=r"data\.images must be a folder of images; .*nowhere"):
        load(data(archive, images="nowhere"))


def test_captions_of_images_in_no_list_are_not_looked_at(archive: Path) -> None:
    with (archive / "Flickr8k.token.txt").open("a") as file:
        file.write("\n2258277193_586949ec62.jpg.1#0\tpeople waiting for the subway\n")
    assert load(data(archive)).problems == ()
    with pytest.raises(DataError, match=r"2258277193_586949ec62\.jpg\.1: no such image"):
        load(data(archive, split=Split()))


def test_shares_divide_all_images_anew(archive: Path) -> None:
    assert [len(part) for part in ids(load(data(archive, split=Split())))] == [8, 1, 1]


def test_a_share_of_train_can_be_validation(archive: Path) -> None:
    split = Split(train=str(OFFICIAL.train), validation=0.34, test=str(OFFICIAL.test))
    train, validation, test = ids(load(data(archive, split=split)))
    assert sorted(train + validation) == names(range(6))
    assert (len(validation), test) == (2, names([8, 9]))
    assert ids(load(data(archive, split=split, seed=1)))[1] != validation


def test_a_limit_leaves_every_split_its_proportion(archive: Path) -> None:
    for seed in range(5):
        parts = ids(load(data(archive, limit=5, seed=seed)))
        assert [len(part) for part in parts] == [3, 1, 1]


def test_bad_lines_are_refused_or_skipped_by_name(archive: Path) -> None:
    (archive / "Flicker8k_Dataset" / "0_ab.jpg").unlink()
    with (archive / "Flickr8k.token.txt").open("a") as file:
        file.write("\n1_ab.jpg#5\t  \nno tab and no number\n")
    with (archive / "Flickr_8k.trainImages.txt").open("a") as file:
        file.write("nobody.jpg\n6_ab.jpg\n")
    with pytest.raises(DataError) as refused:
        load(data(archive))
    assert refused.value.problems == (
        "Flickr8k.token.txt line 52: must be written as name.jpg#0<TAB>caption",
        "nobody.jpg: no caption in Flickr8k.token.txt (Flickr_8k.trainImages.txt line 7)",
        "1_ab.jpg: empty caption (Flickr8k.token.txt line 6)",
        "0_ab.jpg: no such image in the folder or in images/ (Flickr8k.token.txt line 1)",
        "Flicker8k_Dataset/6_ab.jpg: listed for train, but also listed for validation",
    )
    skipped = load(data(archive, on_bad_sample="skip"))
    assert [len(part) for part in ids(skipped)] == [5, 2, 2]
    assert skipped.problems == refused.value.problems


def test_a_list_without_an_image_here_is_refused(archive: Path) -> None:
    for name in names([8, 9]):
        (archive / "Flicker8k_Dataset" / name).unlink()
    with pytest.raises(DataError, match=r"leaves no image for test [^\n]*\n  8_ab\.jpg"):
        load(data(archive, on_bad_sample="skip"))


def test_missing_files_are_refused_with_what_to_do(archive: Path) -> None:
    (archive / "Flickr_8k.devImages.txt").unlink()
    with pytest.raises(DataError, match=r"data\.split\.validation must be .*devImages\.txt is"):
        load(data(archive))
    (archive / "Flickr8k.token.txt").unlink()
    with pytest.raises(DataError, match=r"must hold Flickr8k\.token\.txt, itself or in Flickr8k_"):
        load(data(archive))


@pytest.mark.skipif("FLICKR8K_TEXT" not in os.environ, reason="FLICKR8K_TEXT names no folder")
def test_the_published_text_files_are_read_whole() -> None:
    described = describe(data(Path(os.environ["FLICKR8K_TEXT"])))
    entries, problems = described.entries, described.problems
    splits = Counter(split for entry in entries for split in entry.splits)
    captions = sum(len(entry.captions) for entry in entries)
    print(f"{len(entries)} images, {captions} captions, {dict(splits)}, {len(problems)} problems")
    assert problems == []
    assert len({entry.id for entry in entries}) == len(entries) >= 8000
    assert captions >= 40_000
    assert splits["train"] >= 6000
    assert min(splits["validation"], splits["test"]) >= 1000
    assert all(len(entry.splits) == 1 for entry in entries)
