import time

import pytest

from sweeps.driver.live import status
from sweeps.driver.progress import Board
from sweeps.results.budget import Spent
from sweeps.results.folder import SweepFolder
from sweeps.spec.sweep import Budget
from sweeps.trial import last_line


def board(**changes):
    settings = {"sweep_id": "s-1", "objective": "cider", "mode": "max", "trials": 4, "epochs": 3}
    return Board(**{**settings, **changes})


def minutes_ago(minutes):
    return time.monotonic() - 60.0 * minutes


def test_a_trial_from_its_start_to_its_end():
    made = board()
    row = made.start(2, {"adapter.rank": 8})
    assert (row.title, row.state, row.rung, row.best) == ("trial-002 r8", "running", 0, None)
    made.result(2, {"rung": 1, "objective": 0.5, "best": 0.5})
    made.result(2, {"rung": 2, "objective": 0.2, "best": 0.5})
    assert (row.rung, row.objective, row.best) == (2, 0.2, 0.5)
    assert made.end(2, "stopped") is row
    assert (made.ended, row.state) == (1, "stopped")


def test_a_failure_keeps_what_was_reached_and_says_why():
    made = board()
    made.start(0, {})
    made.result(0, {"rung": 1, "objective": 0.5, "best": 0.5})
    row = made.result(0, {"failed": "ValueError: oops", "finished": False})
    assert (row.rung, row.best, row.error) == (1, 0.5, "ValueError: oops")
    made.end(0, "failed")
    assert (row.state, row.error) == ("failed", "ValueError: oops")
    assert made.end(0, "failed", "died").error == "died"


def test_symptoms_are_those_of_the_last_rung_and_the_guard_says_why():
    made = board()
    made.start(0, {})
    row = made.result(0, {"rung": 1, "objective": 0.5, "best": None, "symptoms": ["x", "y"]})
    assert (row.symptoms, row.error) == ("x; y", None)
    assert made.result(0, {"rung": 2, "objective": 0.5, "symptoms": []}).symptoms == ""
    made.end(0, "failed-by-guard", "rung 4: x")
    assert (row.state, row.error, made.ended) == ("failed-by-guard", "rung 4: x", 1)


def test_a_trial_that_is_retried_is_one_row():
    made = board()
    row = made.start(0, {"adapter.rank": 8})
    row.rung = 2
    made.end(0, "failed")
    assert made.start(0, {"adapter.rank": 8}) is row
    assert (made.ended, row.state, row.rung) == (0, "running", 2)


@pytest.mark.parametrize(("mode", "best"), [("max", 1), ("min", 3)])
def test_the_best_trial_has_the_best_score_and_of_equals_started_first(mode, best):
    made = board(mode=mode)
    assert made.best is None
    for number, score in enumerate([None, 0.9, 0.9, -1.0, -1.0, 0.0]):
        made.start(number, {})
        made.result(number, {"best": score})
    assert made.best.number == best


def test_a_sweep_is_interrupted_until_all_its_trials_ended():
    made = board(trials=2)
    made.start(0, {})
    made.start(1, {})
    made.end(0, "completed")
    assert made.interrupted
    made.end(1, "failed")
    assert not made.interrupted


def test_a_used_up_budget_ends_a_sweep_whose_trials_have_all_ended(tmp_path):
    folder = SweepFolder.create(tmp_path, "bound")
    spent = Spent.open(folder, Budget(gpu_hours=1.0), ())
    made = board(trials=5, spent=spent)
    for number in (0, 1):
        made.start(number, {})
    made.end(0, "completed")
    assert "budget: 0 of 1 GPU h used" in status(made)
    spent.rung("trial-000", {"rung": 1, "seconds": 3600.0})
    assert made.interrupted
    made.end(1, "stopped")
    assert not made.interrupted


def test_pace_and_time_left():
    made = board(started=minutes_ago(2))
    assert (made.trials_per_minute, made.minutes_left) == (None, None)
    made.start(0, {})
    made.end(0, "completed")
    assert made.trials_per_minute == pytest.approx(0.5, abs=0.01)
    assert made.minutes_left == pytest.approx(6.0, abs=0.1)


def test_trials_from_before_a_resume_count_but_not_for_the_pace():
    made = board(started=minutes_ago(1))
    made.recover(0, "trial-000 r8", "completed", 3, 0.7)
    made.recover(1, "trial-001 r4", "failed", 0, None)
    assert (made.ended, made.trials_per_minute) == (2, None)
    assert (made.best.title, made.best.rung) == ("trial-000 r8", 3)
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
    made = board(started=minutes_ago(1))
    made.recover(0, "trial-000 r8", "completed", 3, 0.7)
    made.start(0, {"adapter.rank": 8})
    assert (made.ended, made.trials_per_minute, made.minutes_left) == (0, None, None)
    made.end(0, "completed")
    assert made.trials_per_minute == pytest.approx(1.0, abs=0.02)
