import os
import random

import pytest
from pycocoevalcap.tokenizer.ptbtokenizer import PTBTokenizer

from workers.metrics.java.runtime import VARIABLE, java
from workers.metrics.java.tokenizer import tokenize_each

SEPARATORS = "\n\r\v\f\x1c\x1d\x1e\x85\u2028\u2029"


def tokenize(captions: dict[str, list[str]]) -> dict[str, list[str]]:
    return tokenize_each([captions])[0]


def test_equals_the_stock_tokenizer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(java().parent), prepend=os.pathsep)
    captions = {
        "1": ["A man's dog isn't running; it sits.", 'Two (small) cats - "asleep" - at 5 p.m.'],
        "2": ["café crème, $3.50 & more...", "no.", "5 dogs", "2 1/2 feet, call (555) 123-4567"],
        "3": ["U.S. flag in St. Louis, etc.", "<b>bold</b> e-mail me@example.com!"],
    }
    stock = PTBTokenizer().tokenize(
        {image: [{"caption": text} for text in texts] for image, texts in captions.items()}
    )
    assert tokenize(captions) == stock


def test_line_separators_shift_no_caption() -> None:
    captions = {
        f"image {number}": [f"one{separator}two", f"number {number}"]
        for number, separator in enumerate(SEPARATORS)
    }
    assert tokenize(captions) == {
        image: ["one two", number] for image, (_, number) in captions.items()
    }


def test_captions_without_words_stay_in_place() -> None:
    captions = {"a": ["", "first"], "b": ["...", " \n "], "c": ["\ud800", "last"]}
    assert tokenize(captions) == {"a": ["", "first"], "b": ["", ""], "c": ["", "last"]}


def test_any_characters_keep_one_line_each() -> None:
    characters = [chr(code) for code in (*range(0x3000), *range(0xE000, 0x11000))]
    tokens = tokenize({f"{ord(c):x}": [f"a{c} {c} {c}b", "then end"] for c in characters})
    assert len(tokens) == len(characters)
    assert {end for _, end in tokens.values()} == {"then end"}


def test_any_punctuation_keeps_one_line_each() -> None:
    draw = random.Random(0)
    noise = {
        str(n): ["".join(draw.choices("<>!-/?=\"'& aB.()019|\\", k=20)), "end"] for n in range(5000)
    }
    assert {end for _, end in tokenize(noise).values()} == {"end"}


def test_failing_java_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, "/bin/false")
    with pytest.raises(RuntimeError, match=r"0 of 1 captions .* code 1"):
        tokenize({"a": ["a dog!"]})


def test_endless_words_are_taken_apart_in_time() -> None:
    """As one word it would take the tokenizer a minute."""
    tokens = tokenize({"a": ["\U0001f600" * 50_000, "x" * 2500, "x" * 1000], "b": ["end"]})
    assert tokens["b"] == ["end"]
    assert [len(word) for text in tokens["a"] for word in text.split()] == [1000, 1000, 500, 1000]


def test_sets_in_one_run_get_the_tokens_of_a_run_of_their_own() -> None:
    """What ends in half a token, and what might go on with it, at every border of two sets."""
    ends = ["at 5 p.m", "Mr.", "the U.S", "it's a dog '", "2 1/2", "...", "(", "555", "", "co-"]
    starts = ["m. or later", "Smith's cat", ".A. flag", "s house", "3", "...", ")", "-1234", ""]
    pairs = zip(ends, [*starts, starts[1]], strict=True)
    sets = [{"1": [start], "2": [end]} for end, start in pairs]
    assert tokenize_each(sets) == [tokenize(captions) for captions in sets]
    assert tokenize_each(sets[::-1]) == [tokenize(captions) for captions in sets[::-1]]
