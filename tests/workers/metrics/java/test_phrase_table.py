"""Filtering by phrases: nothing wanted is lost, whatever its length or its place."""

import random
import string
from collections.abc import Iterable

import pytest

from workers.metrics.java.paraphrases import Phrases

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
