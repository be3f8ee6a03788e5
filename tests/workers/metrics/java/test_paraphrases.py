"""The filtered paraphrase table: enough for its references, small, and no need to be kept."""

import gzip
import random
import string
from collections.abc import Iterable
from pathlib import Path

import pytest

from workers.files import cache
from workers.metrics.java.meteor_jvm import Jvm, MeteorServer
from workers.metrics.java.paraphrases import Phrases, readings, table_for, whole_table

REFERENCES = [
    "a young boy is riding a bike down the street",
    "the u.s. team 's players are in front of a crowd",
    "some people sit on a black-and-white couch near o'neill 's bar",
    "a man takes a picture of 2 1/2 children at 5 p.m. & smiles",
]
CAPTIONS = [
    "a little child rides his bicycle along the road",
    "the us team are before a lot of people",
    "a number of persons are sitting on a sofa close to the bar",
    "a man takes a photograph of kids",
    "american players in front of several people",
    "this is the first time that it has been a picture of two children",
]


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(cache.VARIABLE, str(tmp_path_factory.mktemp("cache")))
        return table_for(REFERENCES)


def test_texts_are_read_with_and_without_the_dots_in_words() -> None:
    found = sorted(readings(["the U.S. team...won, ok", "a (big) dog"]))
    assert found == ["a big dog", "the u s team won ok", "the us team won ok"]


@pytest.mark.slow
def test_scores_are_those_of_the_whole_table(table: Path) -> None:
    asked = [([reference], caption) for reference in REFERENCES for caption in CAPTIONS]

    def score(jvm: Jvm) -> list[str]:
        return jvm.score(asked)

    small, whole = MeteorServer(table), MeteorServer(whole_table())
    with small.session(), whole.session():
        found = small.do(score)
        assert found == whole.do(score)
    # Words that match as paraphrases are in columns 16 to 19.
    assert any(float(number) for answer in found for number in answer.split()[16:20])


def test_far_fewer_pairs_are_kept(table: Path) -> None:
    with gzip.open(table) as file:
        lines = file.read().count(b"\n")
    assert lines % 3 == 0
    assert 50_000 < lines // 3 < 150_000


@pytest.mark.slow
def test_every_pair_that_can_match_is_kept(table: Path) -> None:
    plain = b"abcdefghijklmnopqrstuvwxyz0123456789 "
    wanted = {
        " ".join(words[start:stop]).encode()
        for words in (reading.split() for reading in readings(REFERENCES))
        for start in range(len(words))
        for stop in range(start + 1, min(start + 7, len(words)) + 1)
    }
    with gzip.open(whole_table()) as file:
        lines = file.read().splitlines()
    due = {
        (one, other)
        for one, other in zip(lines[1::3], lines[2::3], strict=True)
        if one in wanted or other in wanted or (one + other).translate(None, plain)
    }
    with gzip.open(table) as file:
        kept = file.read().splitlines()
    assert due <= set(zip(kept[1::3], kept[2::3], strict=True))


def test_a_table_is_written_once(table: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(cache.VARIABLE, str(table.parent.parent))
    before = table.stat()
    assert table_for([*reversed(REFERENCES), REFERENCES[0]]) == table
    assert (table.stat().st_ino, table.stat().st_mtime_ns) == (before.st_ino, before.st_mtime_ns)
    assert list(table.parent.iterdir()) == [table]


def test_a_cache_that_cannot_be_written_costs_only_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv(cache.VARIABLE, str(tmp_path / "file"))
    assert table_for(REFERENCES) == whole_table()


LONGEST = 7
LETTERS = string.ascii_lowercase + string.digits


def block_of(pairs: list[tuple[str, str]]) -> bytes:
    return "".join(f"0.25\n{one}\n{other}\n" for one, other in pairs).encode()


def kept(wanted: Iterable[str], pairs: list[tuple[str, str]]) -> list[tuple[str, str]]:
    lines = b"".join(Phrases(wanted).kept(block_of(pairs))).decode().split("\n")
    assert lines[0::3][:-1] == ["0.25"] * (len(lines) // 3)
    return list(zip(lines[1::3], lines[2::3], strict=True))


@pytest.mark.parametrize("length", [1, 2, 7, 8, 9, 15, 16, 17, 60])
@pytest.mark.parametrize("place", [0, 1])
def test_a_wanted_phrase_keeps_its_pair(length: int, place: int) -> None:
    phrase = ("ab cdefghijklm1" * 6)[:length]
    other = "q" * 20
    pair = (phrase, other) if place == 0 else (other, phrase)
    unwanted = [("one thing", "another thing"), ("x" * length, "y" * (length + 1))]
    assert kept([phrase], [*unwanted, pair, *unwanted]) == [pair]


def test_no_pair_is_lost_and_few_are_kept_for_nothing() -> None:
    draw = random.Random(0)

    def phrase() -> str:
        words = range(draw.randint(1, LONGEST))
        return " ".join("".join(draw.choices(LETTERS, k=draw.randint(1, 9))) for _ in words)

    pairs = [(phrase(), phrase()) for _ in range(20_000)]
    wanted = {draw.choice(pair) for pair in draw.sample(pairs, 2_000)}
    due = {pair for pair in pairs if wanted & set(pair)}
    found = kept(wanted, pairs)
    assert due <= set(found)
    # Every single word of a wanted phrase is one too, and no other phrase is a single word here.
    assert len([pair for pair in found if " " in pair[0] and " " in pair[1]]) < len(due) + 100


@pytest.mark.parametrize("odd", ["u.s.", "l'eau", "zwölf", "A", "a-b", "$"])
def test_a_phrase_of_other_letters_keeps_its_pair(odd: str) -> None:
    plain = ("a man", "a person")
    assert kept(["bike"], [plain, (odd, "bus"), plain, ("bus", odd), plain]) == [
        (odd, "bus"),
        ("bus", odd),
    ]


def test_a_probability_keeps_no_pair() -> None:
    block = b"1.0E-4\na man\na person\n0.5\na bike\na bicycle\n"
    assert b"".join(Phrases(["a bike"]).kept(block)) == b"0.5\na bike\na bicycle\n"


def test_nothing_wanted_keeps_nothing() -> None:
    assert kept([], [("a man", "a person")]) == []


def test_runs_of_words_within_a_text_are_phrases_and_those_across_texts_are_not() -> None:
    texts = ["a b c d e f g h", "x"]
    due = ["a", "h", "b c", "a b c d e f g", "b c d e f g h", "x"]
    other = ["h x", "a b c d e f g h", "a c", "g h x", "i"]
    pairs = [(phrase, "q") for phrase in [*due, *other]]
    assert [one for one, _ in kept(texts, pairs)] == due
