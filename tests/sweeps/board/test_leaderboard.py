from dataclasses import replace

import pytest

from sweeps.board.leaderboard import (
    Entry,
    Leaderboard,
    guarded,
    header,
    markdown,
    no_winner,
    ranked,
    row,
)
from sweeps.spec.objectives import Objective

NAN = float("nan")


def entry(number, rung=1, state="completed", guard=None, violates=None, **best):
    name = f"trial-{number:03d}"
    return Entry(
        trial=name, title=f"{name} r8", run_id=f"run{number}", state=state, params={},
        best=best, rung=rung, rungs=3, final={}, guard=guard, violates=violates,
    )  # fmt: skip


def board(*entries, objective="cider", mode="max", zero_shot=0.01, further=(), limited=()):
    return Leaderboard(
        sweep_id="s-1", objective=objective, mode=mode, entries=ranked(entries, objective, mode),
        zero_shot=zero_shot, further=further, limited=limited,
    )  # fmt: skip


def order(made):
    return [int(row.trial[-3:]) for row in made.entries]


@pytest.mark.parametrize(("mode", "expected"), [("max", [2, 0, 3, 1]), ("min", [1, 3, 0, 2])])
def test_the_best_comes_first(mode, expected):
    scores = [0.5, -1.0, 2.0, 0.0]
    entries = [entry(number, cider=score) for number, score in enumerate(scores)]
    assert order(board(*entries, mode=mode)) == expected


@pytest.mark.parametrize("mode", ["max", "min"])
def test_of_equals_the_earlier_trial_is_first(mode):
    made = board(entry(2, cider=0.5), entry(0, cider=0.5), entry(1, cider=0.5), mode=mode)
    assert order(made) == [0, 1, 2]


@pytest.mark.parametrize("mode", ["max", "min"])
def test_trials_without_a_score_come_last(mode):
    unscored, other = entry(0, rung=None, state="failed"), entry(1, bleu_4=0.9)
    made = board(unscored, other, entry(2, cider=0.0), entry(3, cider=-5.0), mode=mode)
    assert order(made)[2:] == [0, 1]


def test_the_winner_is_the_first_that_has_a_score():
    assert board(entry(0, cider=0.1), entry(1, cider=0.2)).winner.trial == "trial-001"
    assert board(entry(0), entry(1, bleu_4=0.2)).winner is None
    assert board().winner is None


def test_the_objective_is_the_first_column_and_bleu_4_stands_for_all_four():
    scores = {"bleu_1": 0.1, "bleu_2": 0.1, "bleu_3": 0.1, "bleu_4": 0.1, "loss": 2.0}
    assert board(entry(0, **scores), entry(1, cider=0.1)).shown == ("cider", "bleu_4", "loss")
    assert board(entry(0, **scores), objective="bleu_1").shown == ("bleu_1", "bleu_4", "loss")


def test_a_population_has_a_column_of_lineages_and_other_sweeps_have_none():
    plain, changed = entry(0, cider=0.1), replace(entry(1, cider=0.2), lineage="<- trial-000@2")
    assert "lineage" not in markdown(board(plain))
    made = board(plain, changed)
    assert header(made, ())[-1] == "lineage"
    assert [row(made, one, ())[-1] for one in made.entries] == ["<- trial-000@2", ""]


def test_markdown_is_a_table_with_one_line_per_trial():
    made = board(entry(0, rung=None, state="failed"), entry(1, rung=3, cider=0.5, loss=1.25))
    assert markdown(made).splitlines() == [
        "**cider** (max), zero-shot 0.0100",
        "",
        "| trial | state | cider | loss | rung |",
        "|---|---|---|---|---|",
        "| trial-001 r8 | completed | 0.5000 | 1.2500 | 3 |",
        "| trial-000 r8 | failed |  |  |  |",
    ]


def test_what_the_guard_stopped_is_told_with_the_reason():
    reason = "rung 2: 97 % of 120 images got the same caption 'a a'"
    stopped = entry(0, state="failed-by-guard", guard=reason, rung=None)
    made = board(stopped, entry(1, rung=3, cider=0.5))
    assert guarded(made) == [f"trial-000 r8: {reason}"]
    assert markdown(made).splitlines()[-3:] == [
        "| trial-000 r8 | failed-by-guard |  |  |", "", f"trial-000 r8: {reason}",
    ]  # fmt: skip


def test_a_trial_that_the_guard_stopped_may_win_by_a_healthy_rung():
    stopped = entry(0, state="failed-by-guard", guard="rung 4: ...", rung=2, cider=0.9)
    assert board(stopped, entry(1, cider=0.5)).winner is stopped


def test_markdown_of_a_sweep_without_trials():
    lines = markdown(board(zero_shot=None)).splitlines()
    assert lines[2:] == ["| trial | state | cider | rung |", "|---|---|---|---|"]


@pytest.mark.parametrize("mode", ["max", "min"])
@pytest.mark.parametrize("scores", [[NAN, 0.5, 0.9], [0.5, NAN, 0.9], [0.9, 0.5, NAN]])
def test_nan_is_no_score(mode, scores):
    made = board(*(entry(number, cider=score) for number, score in enumerate(scores)), mode=mode)
    ranking = [row.best["cider"] for row in made.entries]
    assert ranking[:2] == sorted([0.5, 0.9], reverse=mode == "max")
    assert board(entry(0, cider=NAN)).winner is None


SMALL = Objective(metric="adapter_mb")


def test_the_front_is_what_no_other_trial_dominates():
    made = board(
        entry(0, cider=0.9, adapter_mb=9.0), entry(1, cider=0.5, adapter_mb=1.0),
        entry(2, cider=0.5, adapter_mb=2.0), entry(3, state="stopped", cider=0.7, adapter_mb=3.0),
        entry(4, cider=0.95), entry(5, rung=None, state="failed"),
        entry(6, cider=0.99, adapter_mb=0.5, violates="adapter_mb is 0.5, must be > 1"),
        further=(SMALL,),
    )  # fmt: skip
    assert [row.trial[-1] for row in made.front] == ["0", "3", "1"]
    shown = [line.split(" | ")[2] for line in markdown(made).splitlines() if " | " in line]
    assert shown[0] == "front"
    assert shown.count("yes") == 3


def test_who_violates_a_limit_comes_after_the_others_and_never_wins():
    over = entry(0, cider=0.9, violates="adapter_mb is 9, must be <= 5")
    made = board(over, entry(1, cider=0.1), entry(2, rung=None, state="failed"))
    assert order(made) == [1, 0, 2]
    assert made.winner.trial == "trial-001"
    assert guarded(made) == ["trial-000 r8: adapter_mb is 9, must be <= 5"]
    assert "| completed, violates |" in markdown(made)
    assert board(over).winner is None
    assert no_winner(board(over)) == "no trial with a score keeps search.constraints"
    assert no_winner(board(entry(2, rung=None))) == "no trial has a score"


def test_what_was_measured_has_a_column_when_it_is_asked_for():
    made = entry(0, cider=0.9, bleu_4=0.5, adapter_mb=9.0, latency_ms=3.0, seconds_per_epoch=1.0)
    assert board(made).shown == ("cider", "bleu_4")
    asked = board(made, further=(SMALL,), limited=("latency_ms", "adapter_mb"))
    assert asked.shown == ("cider", "adapter_mb", "latency_ms", "bleu_4")
