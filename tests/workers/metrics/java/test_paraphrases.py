"""The filtered paraphrase table: enough for its references, small, and no need to be kept."""

import gzip
from pathlib import Path

import pytest

from workers.files import cache
from workers.metrics.java.meteor_jvm import Jvm, MeteorServer
from workers.metrics.java.paraphrases import readings, table_for, whole_table

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
