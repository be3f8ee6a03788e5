import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import pytest
from pycocoevalcap.bleu.bleu import Bleu
from pycocoevalcap.cider.cider import Cider
from pycocoevalcap.meteor.meteor import Meteor
from pycocoevalcap.rouge.rouge import Rouge
from pycocoevalcap.tokenizer.ptbtokenizer import PTBTokenizer

from workers.metrics.catalog import METRICS as CATALOG
from workers.metrics.java.runtime import VARIABLE, JavaMissingError, java
from workers.metrics.scorer import Scored, Scorer

METRICS = ("bleu", "meteor", "rouge_l", "cider", "exact_match")
ROUNDS = 4


@pytest.fixture(scope="session")
def references(writer: Any) -> dict[str, list[str]]:
    found: dict[str, list[str]] = writer(2).references(300)
    return found


@pytest.fixture(scope="session")
def rounds(writer: Any, references: dict[str, list[str]]) -> list[dict[str, str]]:
    """Captions of several rungs, of which most stay; among them perfect and empty ones."""
    write = writer(3)
    found = [write.candidates(references)]
    found[0] |= {"7.png": "", "8.png": "...", "9.png": references["9.png"][0]}
    while len(found) < ROUNDS:
        found.append(write.next_round(found[-1], references))
    return found


@pytest.fixture(scope="session")
def scorer(references: dict[str, list[str]]) -> Iterator[Scorer]:
    scorer = Scorer(METRICS, references)
    scorer.start()
    yield scorer
    scorer.close()


class Stock:
    """pycocoevalcap's own scorers composed as its evaluation composes them, but SPICE."""

    def __init__(self, references: Mapping[str, list[str]]) -> None:
        self._references = references
        self._meteor = Meteor()

    def score(self, candidates: Mapping[str, str]) -> dict[str, tuple[float, list[float]]]:
        truth = self._tokens(self._references)
        captions = self._tokens({image: [candidates[image]] for image in self._references})
        values, lists = Bleu(4).compute_score(truth, captions, verbose=0)
        found = {f"bleu_{n + 1}": (values[n], lists[n]) for n in range(4)}
        found["meteor"] = self._meteor.compute_score(truth, captions)
        found["rouge_l"] = Rouge().compute_score(truth, captions)
        found["cider"] = Cider().compute_score(truth, captions)
        return found

    def _tokens(self, captions: Mapping[str, list[str]]) -> dict[str, list[str]]:
        records = {image: [{"caption": text} for text in captions[image]] for image in captions}
        tokens: dict[str, list[str]] = PTBTokenizer().tokenize(records)
        return tokens


@pytest.fixture(scope="session")
def stock(references: dict[str, list[str]], rounds: list[dict[str, str]]) -> list[Any]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PATH", str(java().parent))
        scorers = Stock(references)
        return [scorers.score(candidates) for candidates in rounds]


def _light(references: dict[str, list[str]]) -> Scorer:
    return Scorer(["bleu", "rouge_l", "exact_match"], references)


@pytest.mark.parametrize("number", range(ROUNDS))
def test_equals_the_stock_scorers_to_the_last_bit(
    number: int, scorer: Scorer, rounds: list[dict[str, str]], stock: list[Any]
) -> None:
    found = scorer.score(rounds[number])
    assert len(stock[number]) == 7
    for output, (corpus, images) in stock[number].items():
        assert found.corpus[output] == corpus
        assert (found.images[output] == np.array(images)).all()


def _same(one: Scored, other: Scored) -> bool:
    return (
        one.ids == other.ids
        and one.corpus == other.corpus
        and all((one.images[key] == other.images[key]).all() for key in other.images)
        and all((one.statistics[key] == other.statistics[key]).all() for key in other.statistics)
    )


def test_a_fresh_scorer_scores_the_same(
    scorer: Scorer, references: dict[str, list[str]], rounds: list[dict[str, str]]
) -> None:
    before = [scorer.score(candidates) for candidates in rounds]
    fresh = Scorer(METRICS, references)
    again = [fresh.score(candidates) for candidates in reversed(rounds)]
    fresh.close()
    assert all(map(_same, before, reversed(again)))


def test_threads_get_the_scores_of_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also while each forgets what the others are about to look up."""
    monkeypatch.setattr("workers.metrics.scorer._KEPT", 1)
    references = {str(n): [f"dog {n}"] for n in range(50)}
    scorer = Scorer(["exact_match", "repetition"], references)
    wrong: list[object] = []

    def score(share: int) -> None:
        captions = {image: f"dog {image if int(image) < share else 'x'}" for image in references}
        try:
            found = [scorer.score(captions).corpus["exact_match"] for _ in range(100)]
            wrong.extend(value for value in found if value != share / 50)
        except Exception as error:
            wrong.append(error)

    threads = [threading.Thread(target=score, args=(share,)) for share in (10, 20, 30, 40)]
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    sys.setswitchinterval(interval)
    assert not wrong


def test_two_threads_share_one_java(
    scorer: Scorer, references: dict[str, list[str]], rounds: list[dict[str, str]]
) -> None:
    expected = [scorer.score(candidates) for candidates in rounds[:2]]
    fresh = Scorer(METRICS, references)
    found: dict[int, Scored] = {}

    def score(number: int) -> None:
        found[number] = fresh.score(rounds[number])

    threads = [threading.Thread(target=score, args=(number,)) for number in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    fresh.close()
    assert all(_same(expected[number], found[number]) for number in range(2))


def test_order_of_the_candidates_does_not_matter(
    scorer: Scorer, rounds: list[dict[str, str]]
) -> None:
    backwards = {image: rounds[0][image] for image in reversed(rounds[0])}
    assert _same(scorer.score(backwards), scorer.score(rounds[0]))


def test_nothing_is_printed(
    scorer: Scorer, rounds: list[dict[str, str]], capfd: pytest.CaptureFixture[str]
) -> None:
    scorer.score(rounds[0])
    assert capfd.readouterr() == ("", "")


def test_scorers_are_independent(scorer: Scorer, rounds: list[dict[str, str]]) -> None:
    before = scorer.score(rounds[0])
    other = Scorer(["meteor", "cider"], {"7.png": ["a dog"], "x": ["two cats"]})
    assert other.score({"7.png": "A dog!", "x": "one cat"}).ids == ("7.png", "x")
    other.close()
    other.close()
    assert _same(scorer.score(rounds[0]), before)


def test_a_closed_scorer_starts_again() -> None:
    scorer = Scorer(["meteor"], {"x": ["a dog"]})
    for _ in range(2):
        assert scorer.score({"x": "A dog!"}).corpus == {"meteor": 1.0}
        scorer.close()


def test_hostile_captions_cost_nothing_but_their_own_score(
    scorer: Scorer, rounds: list[dict[str, str]]
) -> None:
    """Separators of lines and fields, other scripts, lone surrogates, 100,000 characters."""
    hostile = [
        *(f"a dog{separator}runs" for separator in "\n\r\v\f\x1c\x1d\x1e\x85\u2028\u2029\0"),
        "a dog ||| runs", "|||", "EVAL ||| 1", "", " ", "\ud800", "a \ud83d dog", "\U0001f600" * 30,
        "一只狗在公园里跑", "كلب يجري", "a dog " * 16_667, "x" * 100_000, "\U0001f600" * 50_000,
        "-LRB- a dog -RRB-", "<b>a dog</b> &amp; more", "%s %n \\ \\n \\u000a",
    ]  # fmt: skip
    before = scorer.score(rounds[0])
    images = list(before.ids)[:: len(before.ids) // len(hostile)][: len(hostile)]
    after = scorer.score(rounds[0] | dict(zip(images, hostile, strict=True)))
    others = np.array([image not in images for image in before.ids])
    for output in before.images:
        assert np.isfinite(after.images[output]).all()
        assert (after.images[output][others] == before.images[output][others]).all()


WATCHED = """
import sys
import pycocoevalcap
from workers.metrics.scorer import Scorer

package, written = next(iter(pycocoevalcap.__path__)), []

def watch(event, arguments):
    if event == "open" and str(arguments[0]).startswith(package) and (arguments[2] or 0) & 3:
        written.append(arguments[0])

sys.addaudithook(watch)
scorer = Scorer(["meteor", "bleu"], {"a": ["a dog"]})
assert scorer.score({"a": "a dog"}).corpus["meteor"] == 1.0
sys.exit(f"written: {written}" if written else 0)
"""


def test_nothing_is_written_into_installed_packages() -> None:
    done = subprocess.run(
        [sys.executable, "-B", "-c", WATCHED], capture_output=True, text=True, timeout=60
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_frequencies_can_be_those_of_the_whole_split(references: dict[str, list[str]]) -> None:
    some = {image: references[image] for image in list(references)[:20]}
    captions = {image: references[image][-1] for image in references}
    names = ["cider", "cider_fixed_idf"]
    whole = Scorer(names, references).score(captions)
    assert whole.corpus["cider"] == whole.corpus["cider_fixed_idf"]
    part = Scorer(names, some, whole=references).score({image: captions[image] for image in some})
    fixed = part.images["cider_fixed_idf"]
    assert fixed.mean() == pytest.approx(whole.images["cider_fixed_idf"][:20].mean(), rel=0.05)
    assert part.images["cider"] != pytest.approx(fixed, rel=0.05)


def test_pooled_statistics_are_the_corpus_scores(
    scorer: Scorer, rounds: list[dict[str, str]]
) -> None:
    scored = scorer.score(rounds[0])
    assert tuple(scored.statistics) == METRICS
    for name, statistics in scored.statistics.items():
        for output, value in CATALOG[name].pool(statistics.sum(axis=0)).items():
            assert value == pytest.approx(scored.corpus[output], abs=1e-12)
        for output, values in CATALOG[name].pool(statistics).items():
            assert values == pytest.approx(scored.images[output], abs=1e-12)


def test_exact_match_ignores_case_and_white_space() -> None:
    scorer = _light({"a": ["A red  dog", "b"], "b": ["a cat"], "c": ["it"], "d": ["x y"]})
    captions = {"a": " a Red\u2028dog ", "b": "a cat.", "c": "", "d": "x y"}
    assert scorer.score(captions).corpus["exact_match"] == 0.5


def test_line_separators_shift_no_caption() -> None:
    references = {"a": ["one\rdog"], "b": ["two\u2028cats"], "c": ["three\nbirds"]}
    scores = (
        _light(references).score({"a": "one\ndog", "b": "two cats", "c": "three\fbirds"}).corpus
    )
    assert scores["exact_match"] == scores["rouge_l"] == 1.0


def test_references_without_words_do_not_count() -> None:
    scorer = _light({"a": ["", "...", "a dog"]})
    assert scorer.score({"a": ""}).corpus["rouge_l"] == 0.0
    assert scorer.score({"a": "a dog"}).corpus["rouge_l"] == 1.0


def test_missing_captions_are_named() -> None:
    scorer = _light({"a.png": ["x"], "b.png": ["y"]})
    with pytest.raises(ValueError, match=r"must have a caption; missing: 'b\.png'"):
        scorer.score({"a.png": "x"})


def test_captions_of_unknown_images_are_named_up_to_five() -> None:
    scorer = _light({"a": ["x"]})
    with pytest.raises(ValueError, match=r"without references: 'b0', .*'b4' and 2 more"):
        scorer.score({"a": "x"} | {f"b{n}": "x" for n in range(7)})


@pytest.mark.parametrize(
    ("metrics", "captions", "lacking"),
    [
        (["exact_match"], [], "a reference"),
        (["bleu"], [], "a reference"),
        (["bleu"], [" \n"], "a reference with a word"),
        (["bleu"], ["...", "!"], "a reference with a word"),
    ],
    ids=["none", "none as tokens", "blank", "punctuation"],
)
def test_images_without_references_are_named(
    metrics: list[str], captions: list[str], lacking: str
) -> None:
    with pytest.raises(ValueError, match=rf"must have {lacking}; not so: 'bad\.png'"):
        Scorer(metrics, {"good.png": ["a dog"], "bad.png": captions})


def test_an_empty_reference_is_an_answer_for_metrics_of_answers() -> None:
    scorer = Scorer(["challenge_f1", "exact_match", "anls"], {"a": [""], "b": ["34 gram"]})
    assert set(scorer.score({"a": "", "b": "34 gram"}).corpus.values()) == {1.0}
    assert scorer.score({"a": "1 gram", "b": ""}).corpus["challenge_f1"] == 0.0


def test_no_images_are_refused() -> None:
    with pytest.raises(ValueError, match="at least one image"):
        _light({})


def test_java_is_needed_only_by_metrics_on_tokens(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, "/nowhere")
    assert Scorer(["exact_match"], {"a": ["x"]}).score({"a": "X"}).corpus == {"exact_match": 1.0}
    with pytest.raises(JavaMissingError, match="/nowhere"):
        Scorer(["bleu"], {"a": ["x!"]})
