"""The file of scores: plain, small, and exactly what was scored."""

import json
from dataclasses import replace

import numpy as np
import pytest

from sweeps.results import scores_file
from sweeps.results.scores_file import Captions, Scores, digest, dump, parse
from sweeps.tracking.sweep_run import SweepRun
from tests.sweeps.published import PublishedTrial
from workers.report import Prediction


def predictions(caption="a cat", second=("a cat", "one cat")):
    return [
        Prediction(image_id="1", caption=caption, references=("a dog",)),
        Prediction(image_id="2", caption=caption, references=second),
    ]


@pytest.fixture
def scores(scored):
    best, final = (scored(np.arange(7) % every == 0) for every in (3, 2))
    best.statistics["exact_match"][1, 0] = 1 / 3  # nothing that ends in decimals
    best.images["exact_match"][1] = 1e-300
    return Scores(
        references="abc",
        best=Captions(beams=1, scored=best),
        final=Captions(beams=3, scored=final),
    )


def same(one, other):
    arrays = zip(
        [*one.images.values(), *one.statistics.values()],
        [*other.images.values(), *other.statistics.values()],
        strict=True,
    )
    return (
        (one.ids, one.corpus, list(one.images), list(one.statistics))
        == (other.ids, other.corpus, list(other.images), list(other.statistics))
    ) and all(a.dtype == b.dtype and np.array_equal(a, b) for a, b in arrays)


def test_what_is_read_is_what_was_written_to_the_last_bit(scores):
    read = parse(dump(scores))
    assert (read.references, read.best.beams, read.final.beams) == ("abc", 1, 3)
    assert same(read.best.scored, scores.best.scored)
    assert same(read.final.scored, scores.final.scored)
    assert {beams: one.corpus for beams, one in read.by_beams.items()} == {
        1: scores.best.scored.corpus,
        3: scores.final.scored.corpus,
    }


def test_a_trial_may_have_no_final_captions(scores):
    read = parse(dump(replace(scores, final=None)))
    assert read.final is None
    assert list(read.by_beams) == [1]


def test_any_json_reader_can_read_it_and_counts_are_whole_numbers(scores):
    text = dump(scores)
    assert json.loads(text)["final"]["statistics"]["word_error_rate"][:2] == [[0, 3], [1, 3]]
    assert "3.0" not in text
    assert " " not in text


def test_the_digest_is_of_images_and_references_only():
    plain = digest(predictions())
    assert digest(predictions("a dog")) == plain
    assert digest(predictions()[::-1]) == plain
    assert digest(predictions(second=("one cat", "a cat"))) != plain
    assert digest(predictions()[:1]) != plain


def test_a_run_keeps_the_last_scores_that_were_written(tracking, scores):
    sweep = SweepRun.open(tracking, "s-1", "", {})
    trial = PublishedTrial.open(sweep, "trial-000", "t", params={}, tags={})
    assert scores_file.read(trial.client, trial.run_id) is None
    trial.scores(replace(scores, final=None))
    trial.scores(scores)
    read = scores_file.read(trial.client, trial.run_id)
    assert same(read.final.scored, scores.final.scored)
