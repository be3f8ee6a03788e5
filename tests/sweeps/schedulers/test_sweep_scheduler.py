"""Tune's schedulers under the rules of a sweep, without Ray."""

from dataclasses import dataclass

import pytest
from ray.tune.schedulers import TrialScheduler

from sweeps.results import record
from sweeps.results.budget import Spent
from sweeps.results.folder import SweepFolder
from sweeps.rung_result import RungResult
from sweeps.schedulers.sweep_scheduler import SweepScheduler
from sweeps.spec.load import parse

EPOCHS = 4
FILE = """
name: ruled
model: {{base: nothing}}
data: {{source: shapes}}
train: {{epochs: 4}}
search: {{budget: {{{budget}}}}}
schedule: {{{schedule}}}
"""
UNPRUNED = "name: asha, reduction: 2, unpruned: 5"


@dataclass(eq=False)
class NumberedTrial:
    """All that is read of a trial."""

    config: dict
    trial_id: str
    status: str = "RUNNING"


class Controller:
    """What stops a trial that waits."""

    def __init__(self):
        self.stopped = []

    def stop_trial(self, trial):
        self.stopped.append(trial.config["number"])


def trial_of(number):
    return NumberedTrial({"number": number}, f"tune-{number}")


def result_of(rung, value, finished=False):
    return {
        "rung": rung, "objective": value, "best": value, "finished": finished, "seconds": 1.0,
        "time": float(rung),
    }  # fmt: skip


@pytest.fixture
def folder(tmp_path):
    return SweepFolder.create(tmp_path, "ruled")


@pytest.fixture
def make(folder):
    """Return a function that makes a scheduler for the sections of a sweep file."""

    def scheduler(schedule, budget="", past=None, slots=1):
        sweep = parse(FILE.format(schedule=schedule, budget=budget))
        spent = Spent(folder, sweep.search.budget, ())
        return SweepScheduler(sweep, spent, lambda: slots, past or {}, lambda: False)

    return scheduler


def rungs(scheduler, number, values):
    """Report values rung by rung as Tune does; return how many rungs the trial did."""
    trial = trial_of(number)
    scheduler.on_trial_add(None, trial)
    for rung, value in enumerate(values, start=1):
        result = result_of(rung, value, finished=rung == EPOCHS)
        if rung == EPOCHS:
            break
        if scheduler.on_trial_result(None, trial, result) == TrialScheduler.STOP:
            break
    scheduler.on_trial_complete(None, trial, result)
    return rung


def flat(value):
    return [value] * EPOCHS


def test_a_rung_without_an_objective_is_not_compared(make):
    scheduler = make("name: asha, grace: 2, reduction: 2")
    for number in range(4):
        assert rungs(scheduler, number, [None, *flat(5.0 + number)[1:]]) == EPOCHS
    assert rungs(scheduler, 4, [None, *flat(1.0)[1:]]) == 2
    assert rungs(scheduler, 5, [float("nan"), *flat(99.0)[1:]]) == EPOCHS


@pytest.mark.parametrize("name", ["asha", "median"])
def test_the_first_trials_run_to_their_end_and_later_ones_do_not(make, name):
    scheduler = make(f"name: {name}, reduction: 2, unpruned: 5")
    assert [rungs(scheduler, n, flat(float(-n))) for n in range(7)] == [4, 4, 4, 4, 4, 1, 1]


def misled(number):
    """Values of which the first says the contrary of the others."""
    return [float(-number), *[float(number)] * (EPOCHS - 1)]


def test_the_grace_is_raised_where_the_first_rung_misleads(make):
    scheduler = make(UNPRUNED)
    assert [rungs(scheduler, n, misled(n)) for n in range(7)] == [4] * 7
    assert rungs(scheduler, 7, [9.0, 0.5, 0.5, 0.5]) == 2  # as the trials before it did there


def test_a_trial_that_runs_when_the_grace_is_raised_goes_on(make):
    scheduler = make(UNPRUNED)
    begun, waiting = trial_of(8), trial_of(9)
    for trial in (begun, waiting):
        scheduler.on_trial_add(None, trial)
    scheduler.on_trial_result(None, begun, result_of(1, -8.0))
    for number in range(5):
        rungs(scheduler, number, misled(number))
    for trial in (begun, waiting):
        for rung in (1, 2) if trial is waiting else (2,):
            decision = scheduler.on_trial_result(None, trial, result_of(rung, -8.0))
        assert decision == TrialScheduler.STOP


def test_a_resumed_sweep_knows_the_grace_from_the_records(make):
    past = {
        f"trial-{n:03d}": [
            RungResult.from_json(result_of(rung, value, finished=rung == EPOCHS))
            for rung, value in enumerate(misled(n), start=1)
        ]
        for n in range(5)
    }
    assert rungs(make(UNPRUNED, past=past), 5, misled(5)) == EPOCHS


def test_a_failed_one_of_the_first_trials_is_not_waited_for(make):
    scheduler = make(UNPRUNED)
    failed = trial_of(2)
    scheduler.on_trial_add(None, failed)
    scheduler.on_trial_complete(None, failed, {"failed": "no room", "finished": False})
    for number in (0, 1, 3, 4):
        rungs(scheduler, number, misled(number))
    assert rungs(scheduler, 5, misled(5)) == 1  # four are too few to measure anything


def test_a_used_up_budget_stops_every_trial_after_its_rung_and_those_that_wait(make):
    scheduler = make("name: fifo, unpruned: 0", budget="gpu_hours: 0.0004", slots=2)
    running, waiting = trial_of(0), trial_of(1)
    for trial in (running, waiting):
        scheduler.on_trial_add(None, trial)
    assert scheduler.on_trial_result(None, running, result_of(1, 1.0)) == TrialScheduler.CONTINUE
    assert scheduler.on_trial_result(None, running, result_of(2, 1.0)) == TrialScheduler.STOP
    waiting.status, controller = "PAUSED", Controller()
    assert scheduler.choose_trial_to_run(controller) is None
    assert controller.stopped == [1]


def test_a_trial_that_did_more_rungs_before_is_not_stopped_while_they_are_replayed(make, folder):
    scheduler = make("name: asha, reduction: 2")
    for rung in (1, 2, 3):
        record.append(folder, "trial-002", RungResult.from_json(result_of(rung, 1.0)))
    for number in (0, 1):
        rungs(scheduler, number, flat(5.0))
    again = trial_of(2)
    scheduler.on_trial_add(None, again)
    for rung in (1, 2, 3):
        decision = scheduler.on_trial_result(None, again, result_of(rung, 1.0))
        assert decision == TrialScheduler.CONTINUE
    assert rungs(scheduler, 3, flat(1.0)) == 1


def test_of_trials_that_are_ready_the_first_starts(make):
    scheduler = make("name: asha")
    for number in (3, 4):
        trial = trial_of(number)
        trial.status = "PENDING" if number == 4 else "RUNNING"
        scheduler.on_trial_add(None, trial)
    assert scheduler.choose_trial_to_run(None).config["number"] == 4
