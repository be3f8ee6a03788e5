import time

import pytest

from sweeps.driver.live import summary
from sweeps.driver.progress import Progress
from sweeps.results.budget import Spent
from sweeps.results.folder import SweepFolder
from sweeps.rung_result import RungResult
from sweeps.spec.objectives import Objective
from sweeps.spec.sweep import Budget
from sweeps.study.trials import TrialState
from sweeps.trial import last_line


def progress(mode="max", **changes):
    settings = {
        "sweep_id": "s-1", "objectives": (Objective(metric="cider", mode=mode),), "wanted": 4,
        "epochs": 3,
    }  # fmt: skip
    return Progress(**{**settings, **changes})


def earlier(number, state, rung, best):
    """A trial that ended before the sweep was resumed."""
    rungs = [RungResult(rung=rung, objective=best, best=best)] if rung else []
    return TrialState(
        name=f"trial-{number:03d}", point={"adapter.rank": 8}, state=state, rungs=rungs
    )


def minutes_ago(minutes):
    return time.monotonic() - 60.0 * minutes


def test_a_trial_from_its_start_to_its_end():
    made = progress()
    trial = made.start(2, {"adapter.rank": 8})
    assert (trial.title, trial.state, trial.rung, trial.score) == (
        "trial-002 r8", "running", 0, None
    )  # fmt: skip
    made.result(2, RungResult(rung=1, objective=0.5, best=0.5))
    trial = made.result(2, RungResult(rung=2, objective=0.2, best=0.5))
    assert (trial.rung, trial.objective, trial.score, trial.best_rung) == (2, 0.2, 0.5, 1)
    assert made.end(2, "stopped") is made.trials["trial-002"]
    assert (made.ended, made.trials["trial-002"].state) == (1, "stopped")


def test_a_failure_keeps_what_was_reached_and_says_why():
    made = progress()
    made.start(0, {})
    made.result(0, RungResult(rung=1, objective=0.5, best=0.5))
    trial = made.result(0, RungResult(failed="ValueError: oops"))
    assert (trial.rung, trial.score, trial.reason) == (1, 0.5, "ValueError: oops")
    trial = made.end(0, "failed")
    assert (trial.state, trial.reason) == ("failed", "ValueError: oops")
    assert made.end(0, "failed", "died").reason == "died"


def test_symptoms_are_those_of_the_last_rung_and_the_guard_says_why():
    made = progress()
    made.start(0, {})
    trial = made.result(0, RungResult(rung=1, objective=0.5, symptoms=("x", "y")))
    assert (trial.symptoms, trial.reason) == ("x; y", None)
    assert made.result(0, RungResult(rung=2, objective=0.5, symptoms=())).symptoms == ""
    trial = made.end(0, "failed-by-guard", "rung 4: x")
    assert (trial.state, trial.guard, made.ended) == ("failed-by-guard", "rung 4: x", 1)


def test_a_trial_that_is_retried_is_one_trial_with_each_rung_once():
    made = progress()
    made.start(0, {"adapter.rank": 8})
    for rung in (1, 2, 2):
        made.result(0, RungResult(rung=rung, objective=0.5, best=0.5))
    made.end(0, "failed")
    trial = made.start(0, {"adapter.rank": 8})
    assert (len(made.trials), made.ended, trial.state, trial.rung) == (1, 0, "running", 2)
    assert len(trial.rungs) == 2


@pytest.mark.parametrize(("mode", "best"), [("max", "trial-001"), ("min", "trial-003")])
def test_the_best_trial_has_the_best_score_and_of_equals_started_first(mode, best):
    made = progress(mode=mode)
    assert made.leaderboard.winner is None
    for number, score in enumerate([None, 0.9, 0.9, -1.0, -1.0, 0.0]):
        made.start(number, {})
        made.result(number, RungResult(rung=1, objective=score, best=score))
    assert made.leaderboard.winner.name == best


def test_a_sweep_is_interrupted_until_all_its_trials_ended():
    made = progress(wanted=2)
    made.start(0, {})
    made.start(1, {})
    made.end(0, "completed")
    assert made.interrupted
    made.end(1, "failed")
    assert not made.interrupted


def test_a_used_up_budget_ends_a_sweep_whose_trials_have_all_ended(tmp_path):
    folder = SweepFolder.create(tmp_path, "bound")
    spent = Spent(folder, Budget(gpu_hours=1.0), ())
    made = progress(wanted=5, spent=spent)
    for number in (0, 1):
        made.start(number, {})
    made.end(0, "completed")
    assert "budget: 0 of 1 GPU h used" in summary(made)
    spent.rung("trial-000", RungResult(rung=1, seconds=3600.0))
    assert made.interrupted
    made.end(1, "stopped")
    assert not made.interrupted


def test_pace_and_time_left():
    made = progress(started=minutes_ago(2))
    assert (made.trials_per_minute, made.minutes_left) == (None, None)
    made.start(0, {})
    made.end(0, "completed")
    assert made.trials_per_minute == pytest.approx(0.5, abs=0.01)
    assert made.minutes_left == pytest.approx(6.0, abs=0.1)


def test_trials_from_before_a_resume_count_but_not_for_the_pace():
    made = progress(started=minutes_ago(1))
    made.recover([earlier(0, "completed", 3, 0.7), earlier(1, "failed", 0, None)])
    assert (made.ended, made.trials_per_minute) == (2, None)
    best = made.leaderboard.winner
    assert (best.title, best.rung) == ("trial-000 r8", 3)
    made.start(2, {})
    made.end(2, "stopped")
    assert made.trials_per_minute == pytest.approx(1.0, abs=0.02)
    assert made.minutes_left == pytest.approx(1.0, abs=0.02)


@pytest.mark.parametrize(
    ("error", "line"),
    [
        ("Traceback ...\n  File x\nValueError: oops\n\n", "ValueError: oops"),
        ("oops", "oops"),
        (" \n", "unknown error"),
        ("", "unknown error"),
    ],
)
def test_the_last_line_of_a_traceback_names_the_error(error, line):
    assert last_line(error) == line


def test_a_trial_that_runs_once_more_after_a_resume_does_not_turn_the_pace_around():
    made = progress(started=minutes_ago(1))
    made.recover([earlier(0, "completed", 3, 0.7)])
    made.start(0, {"adapter.rank": 8})
    assert (made.ended, made.trials_per_minute, made.minutes_left) == (0, None, None)
    made.end(0, "completed")
    assert made.trials_per_minute == pytest.approx(1.0, abs=0.02)
