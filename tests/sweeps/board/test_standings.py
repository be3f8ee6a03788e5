"""Which trials are not significantly different from the best."""

import numpy as np
import pytest

from sweeps.board.leaderboard import Leaderboard, markdown
from sweeps.board.standings import (
    INTERVAL,
    VS_BEST,
    add_runs,
    compute_standings,
    record_standings,
)
from sweeps.results.scores_file import Captions, Scores
from sweeps.rung_result import RungResult
from sweeps.spec.objectives import Objective
from sweeps.study.trials import TrialState
from sweeps.tracking.sweep_run import SweepRun
from tests.sweeps.published import PublishedTrial
from workers.metrics import catalog
from workers.report import Report

IMAGES = 100


def hits(count):
    """Hits of the first images: of two trials the worse one hits no other image."""
    return np.arange(IMAGES) < count


@pytest.fixture
def standings(scored):
    """Return a function: hits of each trial -> the leaderboard with standings."""

    def make(*every, objective="exact_match", mode="max", references=None):
        kept, trials = {}, []
        for number, one in enumerate(map(scored, every)):
            name = f"trial-{number:03d}"
            same = references[number] if references else "same"
            kept[name] = Scores(references=same, best=Captions(beams=1, scored=one))
            trials.append(trial(name, objective, one.corpus[objective]))
        board = Leaderboard.of("s-1", (Objective(metric=objective, mode=mode),), trials)
        metric = next(one for one in catalog.METRICS.values() if objective in one.outputs)
        return compute_standings(board, kept, metric)

    return make


def trial(name, objective, value):
    metrics = {f"val/{objective}": value}
    rung = RungResult(rung=1, objective=value, best=value, metrics=metrics)
    return TrialState(name=name, point={}, state="completed", rungs=[rung])


def verdicts(board):
    found = {trial.name: board.standings.get(trial.name) for trial in board.trials}
    return {int(name[-3:]): standing and standing.vs_best for name, standing in found.items()}


def test_a_trial_that_is_a_little_worse_is_tied_and_one_far_behind_is_not(standings):
    board = standings(hits(58), hits(60), hits(30), hits(60))
    assert verdicts(board) == {1: "best", 3: "tied", 0: "tied", 2: "behind"}
    assert [trial.name for trial in board.tied] == ["trial-003", "trial-000"]
    assert board.images == IMAGES


def test_an_objective_to_be_small_is_judged_the_same_way(standings):
    board = standings(hits(30), hits(60), hits(58), objective="word_error_rate", mode="min")
    assert verdicts(board) == {1: "best", 2: "tied", 0: "behind"}


def test_the_interval_is_that_of_a_share_of_images(standings):
    """By the normal approximation of a binomial: 1.96 standard deviations to each side."""
    best = standings(hits(60), hits(10)).standings["trial-000"]
    half = 1.96 * (0.6 * 0.4 / IMAGES) ** 0.5
    assert (best.low, best.high) == pytest.approx((0.6 - half, 0.6 + half), abs=0.015)


def test_among_many_trials_a_significant_difference_must_be_larger(standings):
    assert verdicts(standings(hits(60), hits(54)))[1] == "behind"
    assert verdicts(standings(hits(60), hits(54), *[hits(60)] * 30))[1] == "tied"


def test_equals_are_seldom_called_behind_though_the_winner_is_the_luckiest_of_them(standings):
    """By the correction 2.5 % are, up to chance; without it 10 % of these would be."""
    generator = np.random.default_rng(0)
    sweeps = [verdicts(standings(*(generator.uniform(size=(10, 40)) < 0.5))) for _ in range(25)]
    behind = [verdict == "behind" for sweep in sweeps for verdict in sweep.values()]
    assert np.mean(behind) < 0.06


def test_trials_on_other_images_have_no_standing(standings):
    board = standings(hits(60), hits(58), hits(10), references=["a", "a", "b"])
    assert verdicts(board) == {0: "best", 1: "tied", 2: None}


def test_one_image_gives_no_standings(standings):
    board = standings([1.0], [0.0])
    assert (board.images, set(verdicts(board).values())) == (None, {None})


def test_the_note_shows_intervals_and_names_tied_trials(standings):
    lines = markdown(standings(hits(60), hits(58), hits(10))).splitlines()
    assert lines[2].startswith("| trial | state | exact_match | 95 % interval | vs best |")
    assert [line.split(" | ")[4] for line in lines[4:7]] == ["best", "tied", "behind"]
    assert lines[-1] == (
        "not significantly different from trial-000 on these 100 images "
        "(paired bootstrap, 95 %): trial-001"
    )


def test_of_many_only_some_are_named(standings):
    assert markdown(standings(*[hits(60)] * 12)).endswith("trial-008 and 3 more")
    assert markdown(standings(hits(60), hits(10))).endswith("no other trial")


@pytest.fixture
def sweep(tracking, scored):
    """A tracked sweep of three trials; the last one has kept no scores."""
    run = SweepRun.open(tracking, "s-1", "", {})
    for number, count in enumerate([60, 10, 40]):
        name = f"trial-{number:03d}"
        child = PublishedTrial.open(run, name, name)
        if number < 2:
            one = scored(hits(count))
            child.scores(Scores(references="same", best=Captions(beams=1, scored=one)))
    return run


def board_by(objective, *values):
    trials = [
        trial(f"trial-{number:03d}", objective.metric, one) for number, one in enumerate(values)
    ]
    return Leaderboard.of("s-1", (objective,), trials)


BY_HITS = board_by(Objective(metric="exact_match"), 0.6, 0.1, 0.4)


def test_standings_come_from_what_the_runs_keep_and_go_back_as_tags(sweep):
    board = record_standings(sweep, BY_HITS)
    assert verdicts(board) == {0: "best", 2: None, 1: "behind"}
    tags = {run.data.tags["trial.id"]: run.data.tags for run in sweep.trials()}
    assert {name: tag.get(VS_BEST) for name, tag in tags.items()} == {
        "trial-000": "best", "trial-001": "behind", "trial-002": None,
    }  # fmt: skip
    low, high = map(float, tags["trial-001"][INTERVAL].split(" to "))
    assert low < 0.1 < high


def test_a_sweep_by_its_loss_has_no_standings(sweep):
    board = record_standings(sweep, board_by(Objective(metric="loss", mode="min"), 1.0, 2.0, 3.0))
    assert (board.standings, board.images) == ({}, None)
    assert not any(VS_BEST in run.data.tags for run in sweep.trials())


def test_without_the_scores_of_the_winner_there_are_no_standings(sweep):
    board = record_standings(sweep, board_by(Objective(metric="exact_match"), 0.6, 0.1, 0.4, 0.9))
    assert (board.standings, board.images) == ({}, None)


def test_the_runs_and_the_score_of_the_base_are_those_of_mlflow(sweep):
    first = PublishedTrial.open(sweep, "trial-000", "")
    metrics = {"val/exact_match": 0.05, "val/loss": 4.0}
    first.report(Report(rung=0, metrics=metrics, finished=False, seconds=1.0), "exact_match")
    board = add_runs(sweep, BY_HITS)
    assert board.zero_shot == 0.05
    assert board.run_ids == {run.data.tags["trial.id"]: run.info.run_id for run in sweep.trials()}
