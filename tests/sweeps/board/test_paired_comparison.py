"""Two trials side by side, by every way to name them, read from a real store."""

import io

import numpy as np
import pytest
from optuna.distributions import CategoricalDistribution
from rich.console import Console

from sweeps.board.paired_comparison import print_comparison
from sweeps.results import record
from sweeps.results.folder import SweepFolder
from sweeps.results.scores_file import Captions, Scores
from sweeps.rung_result import RungResult
from sweeps.spec.load import dump, parse
from sweeps.study.study import TRIAL, open_study
from sweeps.tracking.sweep_run import SweepRun
from tests.sweeps.published import PublishedTrial

FILE = """
name: pair
model: {base: tiny:shapes}
data: {source: shapes}
evaluate: {metrics: [exact_match, word_error_rate]}
search:
  space: {adapter.rank: {choice: [2, 4]}}
  objective: {metric: exact_match}
tracking: {experiment: tested}
"""
IMAGES = 60


def hits(count):
    return np.arange(IMAGES) < count


@pytest.fixture
def trial(tracking, scored):
    """Return a function that adds a trial to a sweep, with its scores, and returns its run."""
    runs = {}

    def add(best, final=None, sweep="pair-1", *, number=0, references="same", beams=(1, 3), **more):
        if sweep not in runs:
            folder = SweepFolder.create(tracking.root, sweep.rpartition("-")[0])
            folder.spec.write_text(dump(parse(FILE)))
            runs[sweep] = SweepRun.open(tracking, sweep, "", {}), folder
        (parent, folder), name = runs[sweep], f"trial-{number:03d}"
        study = open_study(parse(FILE), folder)
        study.ask({"adapter.rank": CategoricalDistribution([8])}).set_user_attr(TRIAL, name)
        run = PublishedTrial.open(parent, name, f"{name} r8")
        if best is not None:
            score = best / IMAGES
            metrics = {"val/exact_match": score}
            rung = RungResult(
                rung=1, objective=score, best=score, metrics=metrics, finished=True, seconds=1.0
            )
            record.append(folder, name, rung)
            first = scored(hits(best), **more)
            last = None if final is None else scored(hits(final), **more)
            run.scores(Scores(
                references=references,
                best=Captions(beams=beams[0], scored=first),
                final=Captions(beams=beams[1], scored=last) if last else None,
            ))  # fmt: skip
        return run

    return add


@pytest.fixture
def shown(tracking, monkeypatch):
    """Return a function: what the command prints for two names."""
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)

    def call(one, other):
        written = io.StringIO()
        console = Console(file=written, width=160, markup=False)
        print_comparison(one, other, tracking.root, console)
        return written.getvalue().splitlines()

    return call


def test_a_trial_a_sweep_and_a_run_can_be_named(trial, shown):
    trial(30, 40)
    winner = trial(40, 50, number=1)
    lines = [shown("pair-1/trial-000", name) for name in ("pair-1", winner.run_id)]
    assert lines[0] == lines[1] == shown("pair-1/trial-000", "pair-1/trial-001")
    assert lines[0][:3] == [
        "A  trial-000 r8 of pair-1",
        "B  trial-001 r8 of pair-1",
        "60 images, captions by 3 beams; paired bootstrap, 10,000 resamples, 95 % intervals",
    ]


def test_differences_have_intervals_and_a_verdict_by_the_direction_of_the_metric(trial, shown):
    trial(30, 40)
    trial(40, 50, number=1)
    rows = {line.split()[0]: line.split() for line in shown("pair-1/trial-000", "pair-1")[4:]}
    metric, one, other, difference, low, to, high, p, *verdict = rows["exact_match"]
    assert (metric, one, other, difference, to) == (
        "exact_match", "0.6667", "0.8333", "-0.1667", "to"
    )  # fmt: skip
    assert float(low) < -0.1667 < float(high) < 0
    assert (p, verdict) == ("<0.001", ["B", "is", "better"])
    assert rows["word_error_rate"][-3:] == ["B", "is", "better"]
    assert float(rows["word_error_rate"][3]) > 0


def test_a_difference_of_one_image_is_not_significant(trial, shown):
    trial(30, 40)
    trial(30, 41, number=1)
    line = shown("pair-1/trial-000", "pair-1/trial-001")[5]
    assert line.startswith("exact_match")
    assert line.endswith("no significant difference")


def test_a_stopped_trial_is_compared_by_the_captions_that_both_have(trial, shown):
    trial(30, 40)
    trial(30, number=1)
    lines = shown("pair-1/trial-000", "pair-1/trial-001")
    assert "captions by 1 beam;" in lines[2]
    assert lines[5].split()[:4] == ["exact_match", "0.5000", "0.5000", "+0.0000"]


def test_metrics_of_one_side_only_are_named(trial, shown):
    trial(30)
    trial(30, sweep="other-1", metrics=["exact_match"])
    assert shown("pair-1", "other-1")[-1] == "only A was scored by word_error_rate"


@pytest.mark.parametrize(
    ("other", "reason"),
    [
        ({"prefix": "photo"}, "other images; 60 only of the first, such as 'image-0'; 60 only"),
        ({"references": "new"}, "the references of their images are not the same"),
        ({"beams": (2, 4)}, "with 1 and 2 beams"),
        ({"metrics": ["word_error_rate"]}, r"by exact_match and word_error_rate \(evaluate"),
    ],
)
def test_what_does_not_agree_is_refused(trial, shown, other, reason):
    trial(30, metrics=["exact_match"])
    trial(30, sweep="other-1", **other)
    with pytest.raises(ValueError, match=f"of pair-1 and .* of other-1 cannot be.*{reason}"):
        shown("pair-1", "other-1")


@pytest.mark.parametrize(
    ("name", "error", "reason"),
    [
        ("pair-1/trial-007", ValueError, "no trial 'trial-007' in pair-1; there are trial-000, tr"),
        ("pair-7", FileNotFoundError, "no sweep 'pair-7' in .*; there are pair-1"),
        ("0" * 32, ValueError, "no run 0{32} in sqlite.* MLFLOW_TRACKING_URI"),
        ("pair-1/trial-001", ValueError, "trial-001 r8 of pair-1 has no eval/scores.json"),
    ],
)
def test_what_is_not_there_is_named(trial, shown, name, error, reason):
    trial(30)
    trial(None, number=1)
    with pytest.raises(error, match=reason):
        shown("pair-1", name)


def test_a_sweep_without_scores_has_no_winner(trial, shown):
    trial(None)
    with pytest.raises(ValueError, match="pair-1: no trial has a score"):
        shown("pair-1", "pair-1/trial-000")
