import csv
import threading
from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from PIL import Image

from workers.data import load
from workers.data.sample import SPLITS, DataError, DataSet
from workers.recipe import Columns, Data, Split


def draw(place: Path, count: int = 10) -> None:
    place.mkdir(parents=True, exist_ok=True)
    for number in range(count):
        Image.new("RGB", (6, 4 + number), (number, 0, 0)).save(place / f"{number}.png")


def write(file: Path, rows: Iterable[Sequence[object]]) -> Path:
    with file.open("w", newline="") as target:
        csv.writer(target).writerows(rows)
    return file


@pytest.fixture
def contest(tmp_path: Path) -> Path:
    """Eight images to train with, two to describe."""
    draw(tmp_path / "images")
    train = [(f"{number}.png", f"Text, {number}") for number in range(8)]
    write(tmp_path / "train.csv", [("image", "caption"), *train])
    write(tmp_path / "test.csv", [("image",), ("8.png",), ("9.png",)])
    return tmp_path


def data(path: Path, **fields: object) -> Data:
    return Data(source="csv", path=str(path), **fields)


def ids(dataset: DataSet) -> list[list[str]]:
    return [[sample.id for sample in dataset.splits[split]] for split in SPLITS]


def test_a_contest_is_described_by_its_folder(contest: Path) -> None:
    dataset = load(data(contest))
    assert [len(part) for part in ids(dataset)] == [7, 1, 2]
    assert [sample.captions for sample in dataset.splits["test"]] == [(), ()]
    assert ids(dataset)[2] == ["8.png", "9.png"]
    assert {sample.captions for sample in dataset.splits["train"]} <= {
        (f"Text, {number}",) for number in range(8)
    }
    assert all(id.startswith("train/") for id in ids(dataset)[0])


def test_a_contest_may_show_an_image_twice_and_count_from_zero(contest: Path) -> None:
    train = [(number, f"{number}.png", f"Text {number}") for number in range(8)]
    write(contest / "train.csv", [("row", "image", "caption"), *train])
    write(contest / "test.csv", [("row", "image"), (0, "8.png"), (1, "9.png"), (2, "8.png")])
    dataset = load(data(contest, columns=Columns(id="row", caption="caption")))
    assert sorted(ids(dataset)[2]) == ["0", "1", "2"]
    assert len(dataset.splits["train"]) == 7


def test_images_named_by_number_are_found(contest: Path) -> None:
    train = [(number, f"Text {number}") for number in range(8)]
    write(contest / "train.csv", [("image_id", "caption"), *train])
    write(contest / "test.csv", [("image_id",), (8,), (9,)])
    assert ids(load(data(contest)))[2] == ["8", "9"]


def test_any_columns_and_files_can_be_named(contest: Path) -> None:
    rows = [(f"what {number}?", "said", number, f"{number}.png") for number in range(8)]
    write(contest / "a.csv", [("q", "words", "n", "photo"), *rows])
    write(contest / "b.csv", [("n", "photo", "q"), (8, "8.png", "who?"), (9, "9.png", "why?")])
    split = Split(train="a.csv", validation=0.25, test="b.csv")
    columns = Columns(image="photo", caption="words", question="q", id="n")
    dataset = load(data(contest, split=split, columns=columns))
    assert [len(part) for part in ids(dataset)] == [6, 2, 2]
    assert [sample.question for sample in dataset.splits["test"]] == ["who?", "why?"]
    assert {sample.question for sample in dataset.splits["train"]} <= {row[0] for row in rows}


def test_rows_of_one_image_are_one_sample_per_question(contest: Path) -> None:
    rows = [
        (f"{image}.png", question, f"{question} {image} {each}", f"{image}-{question}-{each}")
        for image in range(8)
        for question in ("colour", "size")
        for each in range(2)
    ]
    file = write(contest / "all.csv", [("image", "asked", "caption", "key"), *rows])
    columns = Columns(question="asked", id="key")
    dataset = load(data(file, columns=columns, split=Split(train=0.5, validation=0.25, test=0.25)))
    assert [len(part) for part in ids(dataset)] == [8, 4, 4]
    where = {
        split: {id.partition("-")[0] for id in part}
        for split, part in zip(SPLITS, ids(dataset), strict=True)
    }
    assert not where["train"] & (where["validation"] | where["test"])
    sample = next(each for part in dataset.splits.values() for each in part if "3-size" in each.id)
    assert (sample.id, sample.captions) == ("3-size-0", ("size 3 0", "size 3 1"))
    limited = load(data(file, columns=columns, limit=5))
    assert sum(len(part) for part in ids(limited)) == 10


def test_the_digest_sees_questions(contest: Path) -> None:
    digests = set()
    for asked in ("what?", "which?"):
        rows = [(f"{number}.png", asked, "said") for number in range(8)]
        file = write(contest / "all.csv", [("image", "asked", "caption"), *rows])
        digests.add(load(data(file, columns=Columns(question="asked"))).digest)
    assert len(digests) == 2


def test_wrong_columns_are_refused_with_those_found(contest: Path) -> None:
    with pytest.raises(DataError, match=r"columns\.caption must be .*'text', .* are image, cap"):
        load(data(contest, columns=Columns(caption="text")))
    with pytest.raises(DataError, match=r"columns\.id must be .* got 'row'"):
        load(data(contest, columns=Columns(id="row")))
    write(contest / "train.csv", [("picture", "caption"), ("0.png", "text")])
    with pytest.raises(DataError, match=r"a column file_name or image or .*picture, caption; data"):
        load(data(contest))
    write(contest / "train.csv", [("image", "label"), ("0.png", "text")])
    with pytest.raises(DataError, match=r"text or comment; its columns are image, la"):
        load(data(contest))


def test_only_the_test_file_may_be_without_captions(contest: Path) -> None:
    split = Split(train="train.csv", validation="test.csv", test="test.csv")
    with pytest.raises(DataError, match=r"test\.csv must have a column captions or caption"):
        load(data(contest, split=split))


def test_bad_rows_are_refused_or_skipped_by_line(contest: Path) -> None:
    with (contest / "train.csv").open("a") as file:
        file.write('0.png, \n,lost\n1.png,a,b\ngone.png,text\nftp://x/1.png,text\n"7.png,open\n')
    with pytest.raises(DataError) as refused:
        load(data(contest))
    assert set(refused.value.problems) == {
        "0.png: empty caption (train.csv line 10)",
        "train.csv line 11: row without an image",
        "train.csv line 12: must have 2 columns, has 3; put texts with a comma in quotes",
        "gone.png: no such image in the folder or in images/ (train.csv line 13)",
        "ftp://x/1.png: cannot be read: only http and https links are followed, "
        "not 'ftp://x/1.png'",
        "train.csv line 15: unbalanced quotes: unexpected end of data",
    }
    skipped = load(data(contest, on_bad_sample="skip"))
    assert [len(part) for part in ids(skipped)] == [7, 1, 2]


def test_an_image_in_both_files_stays_in_test(contest: Path) -> None:
    write(contest / "test.csv", [("image",), ("7.png",), ("9.png",)])
    with pytest.raises(DataError, match=r"images/7\.png: listed for train, but also listed for te"):
        load(data(contest))
    skipped = load(data(contest, on_bad_sample="skip"))
    assert [len(part) for part in ids(skipped)] == [6, 1, 2]


@pytest.mark.parametrize("text", ["", "image,caption\n", "\n\n"])
def test_a_file_without_rows_is_refused(contest: Path, text: str) -> None:
    (contest / "train.csv").write_text(text)
    with pytest.raises(DataError, match=r"train\.csv must have a header and rows"):
        load(data(contest))


def test_an_unclear_folder_is_refused(contest: Path) -> None:
    (contest / "test.csv").rename(contest / "other.csv")
    with pytest.raises(DataError, match=r"one file \*\.csv; it holds other\.csv and train\.csv"):
        load(data(contest))
    with pytest.raises(DataError, match=r"data\.split\.test must be a CSV file; .*gone\.csv is"):
        load(data(contest, split=Split(train="train.csv", validation=0.1, test="gone.csv")))


@pytest.fixture
def site(contest: Path) -> Iterator[str]:
    class Silent(SimpleHTTPRequestHandler):
        def log_message(self, *args: object) -> None:
            return

    handler = partial(Silent, directory=str(contest / "images"))
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()
    thread.join()


def test_images_behind_links_are_fetched_once(
    contest: Path, site: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SWEEPS_CACHE", str(tmp_path / "cache"))
    rows = [(f"{site}/{number}.png", f"Text {number}") for number in range(10)]
    file = write(contest / "all.csv", [("image_link", "caption"), *rows, (f"{site}/no.png", "x")])
    linked = data(file, allow_private_links=True)
    with pytest.raises(DataError, match=r"no\.png: cannot be read: HTTP 404 File not found"):
        load(linked)
    for number in range(10):
        (contest / "images" / f"{number}.png").unlink()
    dataset = load(linked.model_copy(update={"on_bad_sample": "skip"}))
    assert [len(part) for part in ids(dataset)] == [8, 1, 1]
    sample = dataset.splits["train"][0]
    assert sample.open().size == (6, 4 + int(Path(sample.id).stem))


def test_the_id_of_a_signed_link_is_without_its_signature(
    contest: Path, site: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SWEEPS_CACHE", str(tmp_path / "cache"))
    rows = [(f"{site}/{number}.png?size=4&sig=private", f"Text {number}") for number in range(10)]
    file = write(contest / "all.csv", [("image_link", "caption"), *rows])
    dataset = load(data(file, allow_private_links=True))
    every = {id for part in ids(dataset) for id in part}
    assert sorted(id.partition("#")[0] for id in every) == [
        f"{site}/{number}.png?size=4&sig=***" for number in range(10)
    ]


def test_links_that_differ_in_the_signature_alone_stay_apart(
    contest: Path, site: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SWEEPS_CACHE", str(tmp_path / "cache"))
    rows = [(f"{site}/{number}.png?token=img{number}", f"Text {number}") for number in range(10)]
    rows += [(f"{site}/9.png?token=other", "Another")]
    file = write(contest / "all.csv", [("image_link", "caption"), *rows])
    every = [id for part in ids(load(data(file, allow_private_links=True))) for id in part]
    assert len(set(every)) == 11
    assert not [id for id in every if "img" in id or "other" in id]


def test_links_into_the_own_network_are_refused(
    contest: Path, site: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SWEEPS_CACHE", str(tmp_path / "cache"))
    rows = [(f"{site}/{number}.png", "text") for number in range(3)]
    file = write(contest / "all.csv", [("image_link", "caption"), *rows])
    with pytest.raises(DataError, match=r"not public; .*data\.allow_private_links: true") as error:
        load(data(file))
    assert len(error.value.problems) == 3


def test_a_table_of_bad_rows_alone_says_why(contest: Path) -> None:
    rows = "".join(f"{number}.png,caf\xe9, {number}\n" for number in range(12))
    (contest / "train.csv").write_bytes(f"image,caption\n{rows}".encode("cp1252"))
    with pytest.raises(DataError, match="none of its rows can be used") as refused:
        load(data(contest))
    assert "line 2: not UTF-8 text; in Windows-1252" in str(refused.value)
    assert "it reads '0.png,café, 0'" in str(refused.value)
    assert "... and 2 more" in str(refused.value)


def test_a_field_may_be_long(contest: Path) -> None:
    train = [(f"{number}.png", "long " * 40_000) for number in range(8)]
    write(contest / "train.csv", [("image", "caption"), *train])
    assert len(ids(load(data(contest)))[0]) == 7


@pytest.mark.parametrize("mark", [";", "\t", "|"])
def test_names_of_columns_and_separators_vary(contest: Path, mark: str) -> None:
    rows = "".join(f"{number}.png{mark} a text, {number}\n" for number in range(8))
    (contest / "train.csv").write_text(f"Image_Name{mark} Comment\n{rows}")
    (contest / "test.csv").write_text("IMAGE\n8.png\n9.png\n")
    dataset = load(data(contest))
    assert {sample.captions for sample in dataset.splits["train"]} <= {
        (f"a text, {number}",) for number in range(8)
    }


def test_two_columns_of_one_name_are_refused(contest: Path) -> None:
    write(contest / "train.csv", [("image", "caption", "Caption"), ("0.png", "a", "b")] * 2)
    with pytest.raises(DataError, match="2 columns that are called 'CAPTION'"):
        load(data(contest, columns=Columns(image="image", caption="CAPTION")))
