import os
import random
from collections.abc import Iterator

import pytest
from pycocoevalcap.bleu.bleu import Bleu
from pycocoevalcap.cider.cider import Cider
from pycocoevalcap.meteor.meteor import Meteor
from pycocoevalcap.rouge.rouge import Rouge

from workers.metrics.java import VARIABLE, JavaMissingError, put_java_on_path
from workers.metrics.scorer import Scorer
from workers.metrics.tokenizer import tokenize

METRICS = ("bleu", "meteor", "rouge_l", "cider", "exact_match")
WORDS = (
    "a",
    "the",
    "dog",
    "dogs",
    "cat",
    "runs",
    "running",
    "sits",
    "on",
    "in",
    "park",
    "street",
    "quickly",
    "big",
    "bigger",
    "red",
    "man's",
)


def _sentence(draw: random.Random) -> str:
    return " ".join(draw.choices(WORDS, k=draw.randint(3, 12))).capitalize() + "."


def _images() -> tuple[dict[str, list[str]], dict[str, str]]:
    draw = random.Random(0)
    references = {f"{n}.png": [_sentence(draw) for _ in range(3)] for n in range(30)}
    candidates = {image: _sentence(draw) for image in references}
    for image in list(references)[::3]:  # some good, some empty
        candidates[image] = references[image][1].rstrip(".")
    candidates["7.png"] = ""
    return references, candidates


REFERENCES, CANDIDATES = _images()


@pytest.fixture(scope="session")
def scorer() -> Iterator[Scorer]:
    scorer = Scorer(METRICS, REFERENCES)
    scorer.start()
    yield scorer
    scorer.close()


def _light(references: dict[str, list[str]]) -> Scorer:
    return Scorer(["bleu", "rouge_l", "exact_match"], references)


def test_equals_the_stock_scorers(scorer: Scorer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", os.environ["PATH"])
    put_java_on_path()
    stock_meteor = Meteor()
    references = tokenize(REFERENCES)
    candidates = tokenize({image: [CANDIDATES[image]] for image in REFERENCES})
    bleu, _ = Bleu(4).compute_score(references, candidates, verbose=0)
    expected = dict(zip(("bleu_1", "bleu_2", "bleu_3", "bleu_4"), bleu, strict=True))
    expected["meteor"], _ = stock_meteor.compute_score(references, candidates)
    expected["rouge_l"], _ = Rouge().compute_score(references, candidates)
    expected["cider"], _ = Cider().compute_score(references, candidates)
    expected["exact_match"] = 0.0  # the references end with a full stop
    assert scorer.score(CANDIDATES).corpus == expected


def test_order_of_the_candidates_does_not_matter(scorer: Scorer) -> None:
    backwards = {image: CANDIDATES[image] for image in reversed(CANDIDATES)}
    assert scorer.score(backwards).corpus == scorer.score(CANDIDATES).corpus


def test_nothing_is_printed(scorer: Scorer, capfd: pytest.CaptureFixture[str]) -> None:
    scorer.score(CANDIDATES)
    assert capfd.readouterr() == ("", "")


def test_a_second_scorer_shares_the_jvm_and_leaves_it_running(scorer: Scorer) -> None:
    before = scorer.score(CANDIDATES).corpus
    other = Scorer(["meteor"], {"x": ["a dog"]})
    assert other.score({"x": "A dog!"}).corpus == {"meteor": 1.0}
    other.close()
    other.close()
    assert scorer.score(CANDIDATES).corpus == before


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
        Scorer(["bleu"], {"a": ["x"]})
