import os
import random
import zipfile
from collections.abc import Sequence

import pytest
from pycocoevalcap.tokenizer.ptbtokenizer import PTBTokenizer

from workers.metrics.java.runtime import VARIABLE, jar_folder, java
from workers.metrics.java.tokenizer import Vocabulary, tokenize_each, tokens_of_lines

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


SPECIAL = """
cannot Cannot gonna wanna gotta lemme gimme don't can't isn't dog's dogs' 'tis 'twas o'clock 'em 'n'
colour GREY theatre a I x U An The If Mt dr Miss I'm they'll we've n't 'd 'll 's 're y'all ma'am
2 20 1,000 90s 3rd 12-34 555-1234 5pm -5 5- 1-2-3 '90s t-shirt co-ed one-of-a-kind - -- --- , ,, -,
' '' '- -lrb- -RRB- 2, dog, ok, d'oh . etc. no. No. nos. st. St. Dr. Mr. a. I. U. fig. ca. Co. Corp.
vs. bldg. Jan. Mon. Ltd. al. p. sq. 5. Ph. pp. approx.
"""


@pytest.fixture(scope="module")
def words() -> list[str]:
    """Irregular words of English and abbreviations, both from METEOR, and many special words."""
    with zipfile.ZipFile(jar_folder("pycocoevalcap.meteor") / "meteor-1.5.jar") as jar:
        irregular = jar.read("synonym/english.exceptions").decode().split()
        prefixes = jar.read("nonbreaking/english.prefixes").decode().split()
    plain = [word for word in irregular if word.isascii() and word.isalpha()]
    dotted = [f"{prefix}." for prefix in prefixes]
    return [*random.Random(0).sample(plain, 2000), *prefixes, *dotted, *SPECIAL.split() * 4]


def _line(draw: random.Random, words: Sequence[str]) -> str:
    """Return a caption that is of plain words, or nearly so."""
    *own, last = (_word(draw, words) for _ in range(draw.randint(1, 9)))
    if draw.random() < 0.98:  # within a line a period is nearly always too much
        own = [word.rstrip(".") for word in own]
    ending = draw.choice(("", "", "", "", " .", ".", ",", "'s", " ?"))
    return " ".join("".join([*(f"{word} " for word in own), last, ending]).split())


def _word(draw: random.Random, words: Sequence[str]) -> str:
    case = draw.choice((str, str.lower, str.capitalize, str.upper, lambda word: ""))
    return case(draw.choice(words))


def test_equals_the_tokenizer(words: list[str]) -> None:
    draw = random.Random(1)
    sets = [[_line(draw, words) for _ in range(2)] for _ in range(20_000)]
    vocabulary = Vocabulary()
    vocabulary.learn(line for lines in sets for line in lines)
    made = [vocabulary.tokens(lines) for lines in sets]
    known = [(lines, own) for lines, own in zip(sets, made, strict=True) if own is not None]
    assert tokens_of_lines([lines for lines, _ in known]) == [own for _, own in known]
    assert len(sets) - 4000 > len(known) > 10_000, "most, and not all, follow from their words"


def test_known_words_need_no_java(monkeypatch: pytest.MonkeyPatch) -> None:
    captions = {"a": ["A  dog's colour,\n gonna be\tgrey ."], "b": ["two t-shirts cannot run."]}
    first = tokenize_each([captions])
    assert first == [{"a": ["a dog 's colour gon na be grey"], "b": ["two t-shirts can not run"]}]
    monkeypatch.setenv(VARIABLE, "/nowhere")
    again = {"x": ["cannot  run.", "two dog's"]}
    assert tokenize_each([again, captions]) == [{"x": ["can not run", "two dog 's"]}, *first]


@pytest.mark.parametrize(
    "lines",
    [["see no."], ["see no.", "5 dogs"], ["a dog. a cat"], ["see it.", "", "A dog"], ["2 12"],
     ["a dog!"], ["a ca\u00f1on"], ["x" * 41], ["unseen"]],
    ids=["abbreviation", "before a number", "two sentences", "empty behind a period", "two numbers",
         "other sign", "other letter", "endless", "not learned"],
)  # fmt: skip
def test_lines_that_do_not_follow_from_their_words(lines: list[str]) -> None:
    vocabulary = Vocabulary()
    vocabulary.learn(["see no. 5 dogs a dog. cat it. A dog 2 12"])
    assert vocabulary.tokens(["see a dog"]) == ["see a dog"]
    assert vocabulary.tokens(lines) is None
