from dataclasses import replace

import pytest

from sweeps.board.leaderboard import Leaderboard, header, markdown, no_winner, row, warnings
from sweeps.rung_result import RungResult
from sweeps.spec.objectives import Objective
from sweeps.study.trials import TrialState
from workers.measures import reported_as

NAN = float("nan")


def trial(number, rung=1, state="completed", guard=None, violates=None, **best):
    """Return a trial whose record `board` makes of the scores of its best rung."""
    return TrialState(
        name=f"trial-{number:03d}", point={"adapter.rank": 8}, state=state, reason=guard,
        rungs=[RungResult(rung=rung, violates=violates, metrics=best)] if rung else [],
    )  # fmt: skip


def recorded(trial, objectives):
    """Return the trial with its rung as hosts put it on record for these objectives."""
    if not trial.rungs:
        return trial
    (rung,) = trial.rungs
    best = rung.metrics
    leading = best.get(objectives[0].metric)
    bests = [best.get(objective.metric, NAN) for objective in objectives]
    metrics = {reported_as(name): value for name, value in best.items()}
    last = replace(
        rung, objective=leading, best=leading, bests=tuple(bests) if best else (), metrics=metrics
    )
    return replace(trial, rungs=[last])


def board(*trials, objective="cider", mode="max", zero_shot=0.01, further=(), limited=()):
    objectives = (Objective(metric=objective, mode=mode), *further)
    made = Leaderboard.of("s-1", objectives, [recorded(one, objectives) for one in trials])
    return replace(made, zero_shot=zero_shot, limited=limited)


def order(made):
    return [int(row.name[-3:]) for row in made.trials]


@pytest.mark.parametrize(("mode", "expected"), [("max", [2, 0, 3, 1]), ("min", [1, 3, 0, 2])])
def test_the_best_comes_first(mode, expected):
    scores = [0.5, -1.0, 2.0, 0.0]
    trials = [trial(number, cider=score) for number, score in enumerate(scores)]
    assert order(board(*trials, mode=mode)) == expected


@pytest.mark.parametrize("mode", ["max", "min"])
def test_of_equals_the_earlier_trial_is_first(mode):
    made = board(trial(2, cider=0.5), trial(0, cider=0.5), trial(1, cider=0.5), mode=mode)
    assert order(made) == [0, 1, 2]


@pytest.mark.parametrize("mode", ["max", "min"])
def test_trials_without_a_score_come_last(mode):
    unscored, other = trial(0, rung=None, state="failed"), trial(1, bleu_4=0.9)
    made = board(unscored, other, trial(2, cider=0.0), trial(3, cider=-5.0), mode=mode)
    assert order(made)[2:] == [0, 1]


def test_the_winner_is_the_first_that_has_a_score():
    assert board(trial(0, cider=0.1), trial(1, cider=0.2)).winner.name == "trial-001"
    assert board(trial(0), trial(1, bleu_4=0.2)).winner is None
    assert board().winner is None


def test_the_objective_is_the_first_column_and_bleu_4_stands_for_all_four():
    scores = {"bleu_1": 0.1, "bleu_2": 0.1, "bleu_3": 0.1, "bleu_4": 0.1, "loss": 2.0}
    assert board(trial(0, cider=0.2, **scores), trial(1)).shown == ("cider", "bleu_4", "loss")
    assert board(trial(0, **scores), objective="bleu_1").shown == ("bleu_1", "bleu_4", "loss")


def test_a_population_has_a_column_of_lineages_and_other_sweeps_have_none():
    plain, changed = trial(0, cider=0.1), replace(trial(1, cider=0.2), lineage="<- trial-000@2")
    assert "lineage" not in markdown(board(plain))
    made = board(plain, changed)
    assert header(made, ())[-1] == "lineage"
    assert [row(made, one, ())[-1] for one in made.trials] == ["<- trial-000@2", ""]


def test_markdown_is_a_table_with_one_line_per_trial():
    made = board(trial(0, rung=None, state="failed"), trial(1, rung=3, cider=0.5, loss=1.25))
    assert markdown(made).splitlines() == [
        "**cider** (max), zero-shot 0.0100",
        "",
        "| trial | state | cider | loss | rung |",
        "|---|---|---|---|---|",
        "| trial-001 r8 | completed | 0.5000 | 1.2500 | 3 |",
        "| trial-000 r8 | failed |  |  |  |",
    ]


def test_a_trial_that_the_guard_stopped_is_named_with_the_reason():
    reason = "rung 2: 97 % of 120 images got the same caption 'a a'"
    stopped = trial(0, state="failed-by-guard", guard=reason, rung=None)
    made = board(stopped, trial(1, rung=3, cider=0.5))
    assert warnings(made) == [f"trial-000 r8: {reason}"]
    assert markdown(made).splitlines()[-3:] == [
        "| trial-000 r8 | failed-by-guard |  |  |", "", f"trial-000 r8: {reason}",
    ]  # fmt: skip


def test_a_trial_that_the_guard_stopped_may_win_by_a_healthy_rung():
    stopped = trial(0, state="failed-by-guard", guard="rung 4: ...", rung=2, cider=0.9)
    assert board(stopped, trial(1, cider=0.5)).winner.name == stopped.name


def test_markdown_of_a_sweep_without_trials():
    lines = markdown(board(zero_shot=None)).splitlines()
    assert lines[2:] == ["| trial | state | cider | rung |", "|---|---|---|---|"]


@pytest.mark.parametrize("mode", ["max", "min"])
@pytest.mark.parametrize("scores", [[NAN, 0.5, 0.9], [0.5, NAN, 0.9], [0.9, 0.5, NAN]])
def test_nan_is_no_score(mode, scores):
    made = board(*(trial(number, cider=score) for number, score in enumerate(scores)), mode=mode)
    ranking = [row.score for row in made.trials]
    assert ranking[:2] == sorted([0.5, 0.9], reverse=mode == "max")
    assert board(trial(0, cider=NAN)).winner is None


SMALL = Objective(metric="adapter_mb")


def test_the_front_is_what_no_other_trial_dominates():
    made = board(
        trial(0, cider=0.9, adapter_mb=9.0), trial(1, cider=0.5, adapter_mb=1.0),
        trial(2, cider=0.5, adapter_mb=2.0), trial(3, state="stopped", cider=0.7, adapter_mb=3.0),
        trial(4, cider=0.95), trial(5, rung=None, state="failed"),
        trial(6, cider=0.99, adapter_mb=0.5, violates="adapter_mb is 0.5, must be > 1"),
        further=(SMALL,),
    )  # fmt: skip
    assert [row.name[-1] for row in made.front] == ["0", "3", "1"]
    shown = [line.split(" | ")[2] for line in markdown(made).splitlines() if " | " in line]
    assert shown[0] == "front"
    assert shown.count("yes") == 3


def test_who_violates_a_limit_comes_after_the_others_and_never_wins():
    over = trial(0, cider=0.9, violates="adapter_mb is 9, must be <= 5")
    made = board(over, trial(1, cider=0.1), trial(2, rung=None, state="failed"))
    assert order(made) == [1, 0, 2]
    assert made.winner.name == "trial-001"
    assert warnings(made) == ["trial-000 r8: adapter_mb is 9, must be <= 5"]
    assert "| completed, violates |" in markdown(made)
    assert board(over).winner is None
    assert no_winner(board(over)) == "no trial with a score keeps search.constraints"
    assert no_winner(board(trial(2, rung=None))) == "no trial has a score"


def test_what_was_measured_has_a_column_when_it_is_asked_for():
    made = trial(0, cider=0.9, bleu_4=0.5, adapter_mb=9.0, latency_ms=3.0, seconds_per_epoch=1.0)
    assert board(made).shown == ("cider", "bleu_4")
    asked = board(made, further=(SMALL,), limited=("latency_ms", "adapter_mb"))
    assert asked.shown == ("cider", "adapter_mb", "latency_ms", "bleu_4")
