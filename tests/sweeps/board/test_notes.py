"""The notes below a leaderboard."""

import pytest

from sweeps.board.leaderboard import Leaderboard, markdown, notes
from sweeps.results import record, segments
from sweeps.results.folder import SweepFolder
from sweeps.results.segments import Generation, Segment
from sweeps.rung_result import RungResult
from sweeps.spec.load import parse
from sweeps.spec.objectives import Objective
from sweeps.study.trials import TrialState

FILE = """
name: said
model: {base: nothing}
data: {source: shapes}
train: {epochs: 2}
search: {trials: 6, budget: {gpu_hours: 0.002}}
schedule: {unpruned: 5}
"""


def trials(*states):
    return [
        TrialState(name=f"trial-{number:03d}", point={}, state=state)
        for number, state in enumerate(states)
    ]


@pytest.fixture
def folder(tmp_path):
    """Five trials of two rungs of a second each, of which the first says the contrary."""
    folder = SweepFolder.create(tmp_path, "said")
    for number in range(5):
        for rung in (1, 2):
            value = float(number) * (1 if rung == 2 else -1)
            result = RungResult(
                rung=rung,
                objective=value,
                best=float(number),
                seconds=1.0,
                finished=rung == 2,
                time=0.0,
            )
            record.append(folder, f"trial-{number:03d}", result)
    return folder


def test_the_used_up_budget_and_the_raised_grace_are_in_the_note(folder):
    ended = trials(*["completed"] * 5)
    budget, grace = notes(parse(FILE), folder, ended)
    assert budget == "budget used up after 5 of 6 trials: 0.00278 of 0.002 GPU h"
    assert "schedule.grace was raised to 2" in grace
    note = markdown(
        Leaderboard(
            sweep_id="said-1",
            objectives=(Objective(),),
            trials=tuple(ended),
            notes=(budget, grace),
        )
    )
    assert budget in note
    assert grace in note


def test_a_sweep_with_all_its_trials_and_none_unpruned_has_no_notes(folder):
    sweep = parse(FILE, overrides=["search.trials=5", "schedule.unpruned=0"])
    assert notes(sweep, folder, trials(*["completed"] * 5)) == ()


def test_the_rungs_are_not_judged_while_an_unpruned_trial_is_open(folder):
    sweep = parse(FILE, overrides=["search.budget.gpu_hours=1"])
    assert notes(sweep, folder, trials(*["completed"] * 4, "running")) == ()


def test_a_population_names_the_rungs_at_which_it_compared_its_trials(folder):
    segment = Segment(trial="trial-000", rung=2, donor="trial-001", point={}, perturbed=())
    folder.snapshot("trial-001", 2).mkdir()
    segments.keep(folder, Generation(rung=2, scores={}, segments=(segment,)))
    segments.keep(folder, Generation(rung=4, scores={}, segments=()))
    *_, said = notes(parse(FILE), folder, trials(*["completed"] * 5))
    assert said == "trials were compared at rungs 2, 4; resumed from a better one's state: 1"
