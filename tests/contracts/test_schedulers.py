"""What every scheduler promises, asked as Tune asks it."""

from dataclasses import dataclass

import pytest
from ray.tune.schedulers import TrialScheduler

from sweeps import schedulers

EPOCHS = 9


@dataclass
class NamedTrial:
    """All that a scheduler reads of a trial."""

    trial_id: str


def make(name):
    return schedulers.make(name, mode="max", epochs=EPOCHS, grace=2, reduction=3)


def rungs(scheduler, name, values):
    """Report values rung by rung until the scheduler stops the trial; return how many it took."""
    trial = NamedTrial(name)
    scheduler.on_trial_add(None, trial)
    for rung, value in enumerate(values, start=1):
        result = {"rung": rung, "training_iteration": rung, "objective": value}
        if scheduler.on_trial_result(None, trial, result) == TrialScheduler.STOP:
            return rung
    return len(values)


@pytest.fixture(params=schedulers.NAMES)
def scheduler(request):
    return make(request.param)


def test_the_best_trial_so_far_is_never_stopped_early(scheduler):
    for number in range(6):
        assert rungs(scheduler, f"trial-{number}", [float(number)] * EPOCHS) == EPOCHS


def test_no_trial_is_stopped_within_its_grace(scheduler):
    for number in range(6):
        assert rungs(scheduler, f"trial-{number}", [float(-number)] * EPOCHS) >= 2


def test_a_result_without_an_objective_does_no_harm(scheduler):
    trial = NamedTrial("failed")
    scheduler.on_trial_add(None, trial)
    scheduler.on_trial_complete(None, trial, {"failed": "loss is nan", "finished": False})
    assert rungs(scheduler, "next", [1.0] * EPOCHS) == EPOCHS


def test_asha_stops_the_worst_at_a_rung_and_fifo_nobody():
    stopped = {}
    for name in schedulers.NAMES:
        made = make(name)
        for number in range(5):
            stopped[name] = rungs(made, f"trial-{number}", [float(-number)] * EPOCHS)
    assert stopped == {"asha": 2, "fifo": EPOCHS}


def test_a_new_scheduler_that_was_shown_the_past_decides_as_the_old_one():
    past = [("a", 5.0), ("b", 4.0), ("c", 3.0)]
    for name in schedulers.NAMES:
        old, new = make(name), make(name)
        for trial, value in past:
            rungs(old, trial, [value] * EPOCHS)
        shown = [
            (trial, {"rung": rung, "training_iteration": rung, "objective": value})
            for trial, value in past
            for rung in (1, 2)
        ]
        schedulers.remember(new, shown)
        assert rungs(new, "next", [1.0] * EPOCHS) == rungs(old, "next", [1.0] * EPOCHS)
