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


def make_several():
    """ASHA for an objective to maximize and one to minimize."""
    return schedulers.make(
        "asha", mode="max", further_modes=["min"], epochs=EPOCHS, grace=2, reduction=3
    )


def rungs_of_several(scheduler, name, values):
    """Report one and the same pair at each rung; return how many rungs the trial took."""
    trial = NamedTrial(name)
    scheduler.on_trial_add(None, trial)
    for rung in range(1, EPOCHS + 1):
        result = {"rung": rung, "objective": values[0], "objectives": values}
        if scheduler.on_trial_result(None, trial, result) == TrialScheduler.STOP:
            return rung
    return EPOCHS


def test_of_several_objectives_who_is_dominated_is_stopped_after_the_grace():
    made = make_several()
    assert rungs_of_several(made, "good", [0.9, 10.0]) == EPOCHS
    assert rungs_of_several(made, "small", [0.5, 1.0]) == EPOCHS
    assert rungs_of_several(made, "worse and larger", [0.4, 20.0]) == 2
    assert rungs_of_several(made, "nan", [float("nan"), 20.0]) == 2


def test_who_is_on_the_front_goes_on_however_many_there_are():
    made = make_several()
    for number in range(9):
        assert rungs_of_several(made, f"t{number}", [float(number), float(number)]) == EPOCHS


def test_the_best_of_the_dominated_go_on_up_to_the_share():
    made = make_several()
    rungs_of_several(made, "front", [1.0, 0.0])
    for number in range(8):
        rungs_of_several(made, f"bad-{number}", [0.1, 5.0 + number])
    assert rungs_of_several(made, "second", [0.9, 1.0]) > 2
    assert rungs_of_several(made, "last", [0.0, 99.0]) == 2


def test_a_result_without_objectives_does_no_harm_to_several():
    made = make_several()
    failed = NamedTrial("failed")
    made.on_trial_complete(None, failed, {"failed": "loss is nan", "finished": False})
    made.on_trial_complete(None, failed, {"rung": 2, "finished": False})
    assert rungs_of_several(made, "next", [0.1, 1.0]) == EPOCHS


def test_several_objectives_of_past_trials_are_remembered():
    new = make_several()
    shown = [
        ("good", {"rung": rung, "objective": 0.9, "objectives": [0.9, 1.0]}) for rung in (1, 2)
    ]
    schedulers.remember(new, shown)
    assert rungs_of_several(new, "worse", [0.1, 2.0]) == 2


def test_fifo_stops_nobody_for_several_objectives():
    made = schedulers.make(
        "fifo", mode="max", further_modes=["min"], epochs=EPOCHS, grace=2, reduction=3
    )
    assert rungs_of_several(made, "good", [0.9, 10.0]) == EPOCHS
    assert rungs_of_several(made, "bad", [0.1, 20.0]) == EPOCHS


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
