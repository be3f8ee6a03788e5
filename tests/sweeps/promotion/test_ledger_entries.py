"""What stands in a ledger as text, without MLflow."""

import json
from dataclasses import asdict, replace

import pytest

from sweeps.promotion.ledger import MAX_CHARACTERS, LedgerEntry, LedgerError, read_chain

FIRST = LedgerEntry(
    kind="promotion", version="3", previous=None, by="ann", at="2026-03-01T14:05:12+00:00",
    why="better by 0.1", evidence="evidence.json", run_id="r1", approved_by="bob", id="a",
)  # fmt: skip
SECOND = replace(FIRST, version="4", previous="3", id="b")
ONE, TWO = FIRST.to_json(), SECOND.to_json()


def test_entries_come_back_as_they_were_written():
    texts = {2: SECOND.to_json(), 1: FIRST.to_json()}
    assert read_chain(texts, "ledger of m") == (FIRST, SECOND)
    assert read_chain({}, "ledger of m") == ()


def test_an_entry_is_written_as_ever():
    text = (
        '{"kind": "promotion", "version": "3", "by": "ann", "why": "better by 0.1", '
        '"evidence": "evidence.json", "run_id": "r1", "approved_by": "bob", "previous": null, '
        '"at": "2026-03-01T14:05:12+00:00", "id": "a"}'
    )
    assert text == ONE
    assert read_chain({1: text}, "ledger of m") == (FIRST,)


def test_fields_of_a_later_release_are_passed_over():
    text = json.dumps({**asdict(FIRST), "signature": "x"})
    assert read_chain({1: text}, "ledger of m") == (FIRST,)


@pytest.mark.parametrize(
    ("texts", "said"),
    [
        (
            {1: ONE, 2: '{"kind": "promo'},
            r"ledger of m: entry 2 is damaged: the entry: ",
        ),
        ({1: ONE.replace('"by"', '"who"')}, "entry 1 is damaged: by: Field required"),
        ({1: ONE.replace('"id"', '"name"')}, "entry 1 is damaged: at, id: Field required"),
        ({1: ONE.replace("promotion", "theft")}, "entry 1 is damaged: kind: Input"),
        (
            {1: ONE, 3: TWO},
            "entry 2 is missing, although there are later ones",
        ),
        ({2: TWO}, "entry 1 is missing"),
        (
            {1: ONE, 2: replace(SECOND, previous="7").to_json()},
            "entry 2 says that version 7 was the champion before, but entry 1 made it version 3",
        ),
    ],
)
def test_a_damaged_entry_is_named(texts, said):
    with pytest.raises(LedgerError, match=said):
        read_chain(texts, "ledger of m")


@pytest.mark.parametrize("letter", ["x", "é", '"', "\n", "\x01"])
def test_a_long_reason_is_cut_to_what_fits_and_names_the_file_with_all_of_it(letter):
    long = replace(FIRST, why=letter * 20_000)
    cut = long.fitted()
    # one more letter would be too many
    assert MAX_CHARACTERS - 6 < len(cut.to_json()) <= MAX_CHARACTERS
    assert cut.why.startswith(letter * 500)
    assert cut.why.endswith(f"{letter} [...] (all of it: why/a.txt)")
    assert replace(cut, why="") == replace(long, why="")


def test_a_reason_that_fits_stays():
    room = MAX_CHARACTERS - len(replace(FIRST, why="").to_json())
    whole = replace(FIRST, why="x" * room)
    assert whole.fitted() == whole
    assert replace(FIRST, why="x" * (room + 1)).fitted() != whole


def test_what_does_not_fit_without_its_reason_is_refused():
    with pytest.raises(
        LedgerError, match=r"at most 6000 characters, got 6\d\d\d without its reason"
    ):
        replace(FIRST, by="x" * 6000).fitted()
