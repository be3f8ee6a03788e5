"""What every scheduler promises, asked as Tune asks it."""

from dataclasses import dataclass, field
from types import SimpleNamespace

import pytest
from ray.tune.schedulers import TrialScheduler

from sweeps import schedulers
from sweeps.schedulers import PastTrial
from sweeps.spec import plugins

EPOCHS = 9
WAITING = [name for name in plugins.SCHEDULERS if plugins.scheduler(name).PAUSES]
AT_ONCE = [name for name in plugins.SCHEDULERS if name not in WAITING]


@dataclass(eq=False)
class NamedTrial:
    """All that a scheduler reads of a trial."""

    trial_id: str
    status: str = "RUNNING"
    is_saving: bool = False
    config: dict = field(default_factory=lambda: {"number": 0})


DEAF = SimpleNamespace(on_pause=lambda name: None, on_unpause=lambda name: None)
"""A searcher that does not care who waits."""


@dataclass
class Controller:
    """All that a scheduler asks of Tune."""

    trials: list = field(default_factory=list)
    stopped: list = field(default_factory=list)
    search_alg: SimpleNamespace = field(default_factory=lambda: SimpleNamespace(searcher=DEAF))

    def get_trials(self):
        return self.trials

    def stop_trial(self, trial):
        trial.status = "TERMINATED"
        self.stopped.append(trial.trial_id)


def make(name):
    return schedulers.make(name, modes=["max"], epochs=EPOCHS, grace=2, reduction=3)


def result_of(rung, value):
    return {"rung": rung, "training_iteration": rung, "objective": value}


def rungs(scheduler, name, values):
    """Report values rung by rung until the scheduler does not go on; return how many it took."""
    trial, controller = NamedTrial(name), Controller()
    scheduler.on_trial_add(controller, trial)
    for rung, value in enumerate(values, start=1):
        decision = scheduler.on_trial_result(controller, trial, result_of(rung, value))
        if decision != TrialScheduler.CONTINUE:
            return rung
    return len(values)


@pytest.fixture(params=plugins.SCHEDULERS)
def every(request):
    return make(request.param)


@pytest.fixture(params=AT_ONCE)
def scheduler(request):
    return make(request.param)


def test_the_best_trial_so_far_is_never_stopped_early(scheduler):
    for number in range(6):
        assert rungs(scheduler, f"trial-{number}", [float(number)] * EPOCHS) == EPOCHS


def test_no_trial_is_stopped_within_its_grace(every):
    for number in range(6):
        assert rungs(every, f"trial-{number}", [float(-number)] * EPOCHS) >= 2


def test_a_trial_that_ends_without_an_objective_does_no_harm(scheduler):
    trial = NamedTrial("failed")
    scheduler.on_trial_add(None, trial)
    scheduler.on_trial_remove(None, trial)
    assert rungs(scheduler, "next", [1.0] * EPOCHS) == EPOCHS


def test_a_trial_that_is_continued_against_a_decision_goes_on(scheduler):
    for number in range(5):
        rungs(scheduler, f"good-{number}", [1.0] * EPOCHS)
    trial = NamedTrial("worst")
    scheduler.on_trial_add(None, trial)
    for rung in range(1, EPOCHS):
        decision = scheduler.on_trial_result(None, trial, result_of(rung, -1.0))
        assert decision in (TrialScheduler.CONTINUE, TrialScheduler.STOP)


def test_the_worst_at_a_rung_is_stopped_by_all_but_fifo():
    stopped = {}
    for name in AT_ONCE:
        made = make(name)
        for number in range(5):
            stopped[name] = rungs(made, f"trial-{number}", [float(-number)] * EPOCHS)
    assert stopped == {"asha": 2, "fifo": EPOCHS, "median": 2}


def make_several():
    """ASHA for an objective to maximize and one to minimize."""
    return schedulers.make("asha", modes=["max", "min"], epochs=EPOCHS, grace=2, reduction=3)


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
    good = {"objective": 0.9, "objectives": [0.9, 1.0]}
    shown = [(PastTrial("good"), {**good, "rung": rung}) for rung in (1, 2)]
    schedulers.replay("asha", new, shown)
    assert rungs_of_several(new, "worse", [0.1, 2.0]) == 2


def test_fifo_stops_nobody_for_several_objectives():
    made = schedulers.make("fifo", modes=["max", "min"], epochs=EPOCHS, grace=2, reduction=3)
    assert rungs_of_several(made, "good", [0.9, 10.0]) == EPOCHS
    assert rungs_of_several(made, "bad", [0.1, 20.0]) == EPOCHS


def test_hyperband_halves_a_bracket_only_when_all_its_trials_are_there():
    made, controller = make("hyperband"), Controller()
    trials = [NamedTrial(str(number)) for number in range(5)]  # ceil(3 / 2 * 3), first at rung 3
    for number, trial in enumerate(trials):
        controller.trials.append(trial)
        made.on_trial_add(controller, trial)
        for rung in (1, 2):
            go_on = made.on_trial_result(controller, trial, result_of(rung, float(-number)))
            assert go_on == TrialScheduler.CONTINUE
        last = made.on_trial_result(controller, trial, result_of(3, float(-number)))
        trial.status = "PAUSED"
    assert last == TrialScheduler.STOP
    assert controller.stopped == ["3", "2"]
    assert made.choose_trial_to_run(controller).trial_id in ("0", "1")


def test_median_waits_for_as_many_trials_as_its_option_says():
    made = schedulers.make(
        "median", modes=["max"], epochs=EPOCHS, grace=2, reduction=3, options={"samples": 5}
    )
    took = [rungs(made, f"trial-{n}", [float(-n)] * EPOCHS) for n in range(6)]
    assert took == [EPOCHS] * 5 + [2]


@pytest.mark.parametrize("name", AT_ONCE)
def test_a_new_scheduler_that_was_shown_the_past_decides_as_the_old_one(name):
    past = [("a", 5.0), ("b", 4.0), ("c", 3.0)]
    old, new = make(name), make(name)
    for trial, value in past:
        rungs(old, trial, [value] * EPOCHS)
    shown = [(PastTrial(t), result_of(rung, v)) for t, v in past for rung in range(1, EPOCHS + 1)]
    schedulers.replay(name, new, shown)
    worst, best = [1.0] * EPOCHS, [9.0] * EPOCHS
    assert rungs(new, "next", worst) == rungs(old, "next", worst)
    assert rungs(new, "last", best) == rungs(old, "last", best) == EPOCHS


@pytest.mark.parametrize("name", WAITING)
def test_nobody_waits_for_trials_that_are_over(name):
    made = make(name)
    schedulers.replay(name, made, [(PastTrial("over"), result_of(3, 1.0))])
    trial, controller = NamedTrial("next", "PENDING"), Controller()
    controller.trials.append(trial)
    made.on_trial_add(controller, trial)
    assert made.choose_trial_to_run(controller) is trial


def test_an_option_that_a_scheduler_has_not_is_an_error():
    with pytest.raises(TypeError, match="samples"):
        schedulers.make(
            "asha", modes=["max"], epochs=9, grace=1, reduction=3, options={"samples": 3}
        )
