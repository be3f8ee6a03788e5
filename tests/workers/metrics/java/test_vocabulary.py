import random
import zipfile
from collections.abc import Sequence

import pytest

from workers.metrics.java import ptb
from workers.metrics.java.runtime import VARIABLE, jar_folder
from workers.metrics.java.tokenizer import Vocabulary, tokenize_each

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
    assert ptb.tokens([lines for lines, _ in known]) == [own for _, own in known]
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
