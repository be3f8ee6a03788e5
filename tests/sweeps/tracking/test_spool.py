"""Entries on disk: torn lines, their order, and what is left of them."""

import json

import pytest

from sweeps.tracking.entries import Entry, batch, parse
from sweeps.tracking.spool import SpoolFile


@pytest.fixture
def file(tmp_path):
    return SpoolFile(tmp_path / "trial-000")


def tags(file):
    return [entry.values["tags"]["n"] for entry in file.pending()]


def add(file, *numbers):
    for number in numbers:
        file.append(batch(tags={"n": str(number)}))


def settle(file):
    with file.sending():
        end, entry = next(file.ends())
        file.advance(end)
    return entry


def test_an_entry_is_read_as_it_was_written():
    entry = batch({"val/cider": 0.1 + 0.2}, {"a": "ä\n"}, rung=3, best={"best/rung": 3})
    assert parse(entry.line()) == entry
    assert entry.line().count(b"\n") == 1
    assert parse(b'{"kind":"batch"') is None
    assert parse(b'{"other":"file"}\n') is None


def test_entries_are_sent_in_their_order_and_then_nothing_is_left(file):
    assert file.is_empty
    add(file, 1, 2, 3)
    assert [settle(file).values["tags"]["n"] for _ in range(2)] == ["1", "2"]
    assert (tags(file), file.is_empty) == (["3"], False)
    add(file, 4)
    settle(file)
    settle(file)
    assert file.is_empty
    assert {path.name for path in file.folder.iterdir()} == {"lock", "sender"}
    add(file, 5)
    assert tags(file) == ["5"]


def test_a_line_that_a_crash_cut_off_is_left_out_and_spoils_none(file):
    add(file, 1, 2)
    entries = file.folder / "entries.jsonl"
    whole = entries.read_bytes()
    entries.write_bytes(whole[:-7])
    assert tags(file) == ["1"]
    add(file, 3)
    assert tags(file) == ["1", "3"]
    settle(file)
    settle(file)
    assert file.is_empty
    assert not entries.exists()


@pytest.mark.parametrize("cut", range(1, 30, 4))
def test_wherever_the_first_line_is_cut_off_the_next_ones_count(file, cut):
    add(file, 1)
    entries = file.folder / "entries.jsonl"
    entries.write_bytes(entries.read_bytes()[:cut])
    assert file.is_empty
    add(file, 2)
    assert tags(file) == ["2"]


def test_who_dies_while_removing_what_is_sent_sends_it_again_and_loses_nothing(file):
    add(file, 1)
    kept = (file.folder / "entries.jsonl").read_bytes()
    settle(file)
    (file.folder / "entries.jsonl").write_bytes(kept)
    assert tags(file) == ["1"]


def test_what_is_refused_stands_apart_with_its_reason(file):
    entry = Entry(kind="untag", values={"key": "a"})
    file.refuse(entry, "no such run")
    assert file.refused() == ["no such run"]
    assert file.is_empty
    written = json.loads((file.folder / "refused.jsonl").read_text())
    assert written["entry"]["values"] == {"key": "a"}
