"""Schedulers, slots and budget on real Ray and Optuna, with hosts that know the curves already."""

import contextlib
import os
import signal

import psutil
import pytest
import ray
from optuna.trial import TrialState

from sweeps.driver import search
from sweeps.fleet import cluster
from sweeps.fleet.placement import Room
from sweeps.fleet.starting import start_fleet
from sweeps.host.context import SweepContext
from sweeps.results import record, segments
from sweeps.results.budget import Spent
from sweeps.results.folder import SweepFolder
from sweeps.rung_result import RungResult
from sweeps.spec.load import parse
from sweeps.study.searcher import OptunaBridge
from sweeps.study.study import open_study, own_trials

FILE = """
name: curves
model: {{base: nothing}}
data: {{source: shapes}}
train: {{epochs: 4}}
search:
  space: {{train.learning_rate: {{log_uniform: [1e-5, 1e-3]}}}}
  sampler: {{name: random}}
  trials: {trials}
  budget: {{{budget}}}
schedule: {{{schedule}}}
resources: {{hosts: 1, slots: {slots}}}
"""


pytestmark = pytest.mark.slow


@pytest.fixture(scope="module", autouse=True)
def ray_here():
    cluster.connect()
    yield
    ray.shutdown()


def host_class():
    """Return the class of a host whose trials are the better the higher their numbers.

    At the first rungs, as many as are `misleading`, they are the worse. The processes of trials are
    killed when a rung that `kills` is on record, before they get it.

    Made in a function, because Ray's processes cannot import test modules.
    """

    class CurveHost:
        def __init__(self, folder, epochs, misleading, seconds, kills):
            self.folder, self.epochs, self.kills = folder, epochs, kills
            self.misleading, self.seconds = misleading, seconds
            self.open_trials, self.most, self.trained = {}, 0, []

        def open(self, number, point, start, opening):
            past = record.usable(self.folder, f"trial-{number:03d}")
            self.open_trials[number] = len(past)
            self.most = max(self.most, len(self.open_trials))

        def advance(self, number):
            name, rung = f"trial-{number:03d}", self.open_trials[number] + 1
            self.open_trials[number] = rung
            self.trained.append((number, rung))
            value = float(number + rung / 10)
            if rung <= self.misleading:
                value = -value
            result = RungResult(
                rung=rung,
                objective=value,
                best=float(number + rung / 10),
                finished=rung == self.epochs,
                seconds=self.seconds,
                time=float(rung),
            )
            record.append(self.folder, name, result)
            self.folder.snapshot(name, rung).mkdir()
            if (number, rung) in self.kills:
                for process in psutil.Process().parent().children():
                    if "TrialTrainable" in " ".join(process.cmdline()):
                        process.kill()
            return result

        def close(self, number, opening):
            self.open_trials.pop(number, None)

        def seen(self):
            return self.most, self.trained

    return CurveHost


class Death(ray.tune.Callback):
    """Ends the driver with an error after so many rungs; None never does."""

    def __init__(self, rungs):
        self.rungs = rungs

    def on_trial_result(self, iteration, trials, trial, result, **info):
        if self.rungs is not None:
            self.rungs -= 1
            if not self.rungs:
                raise RuntimeError("the driver dies")


class Told(ray.tune.Callback):
    """Notes each rung that Tune hears of, and kills the trial's process after some of them."""

    def __init__(self, kills):
        self.rungs, self.kills = [], kills

    def on_trial_result(self, iteration, trials, trial, result, **info):
        self.rungs.append((trial.config["number"], result["rung"]))
        if self.rungs[-1] in self.kills:
            os.kill(result["pid"], signal.SIGKILL)


class Sweep:
    """A sweep of curves in a folder, run by the driver's own function."""

    def __init__(
        self, root, schedule, trials=10, budget="", slots=2, misleading=0, seconds=1.0, kills=()
    ):
        text = FILE.format(schedule=schedule, trials=trials, budget=budget, slots=slots)
        self.text, self.slots = text, slots
        self.folder = SweepFolder.create(root, "curves")
        self.name = f"{self.folder.sweep_id}/host-0"
        self.host = (
            ray.remote(host_class())
            .options(name=self.name, num_cpus=0, max_restarts=-1)
            .remote(self.folder, 4, misleading, seconds, kills)
        )

    def run(self, *changes, dies_at=None, callbacks=()):
        """Run what is not over, as a driver does that may die at a rung; return the clock."""
        self.sweep = parse(self.text, overrides=changes)
        context = SweepContext(
            sweep=self.sweep, folder=self.folder, threads=1
        )  # fmt: skip
        fleet = start_fleet(self.folder.sweep_id)
        ray.get(fleet.add.remote(self.name, Room(slots=self.slots)))
        over = [name for name, state in self.states().items() if state.is_finished()]
        spent = Spent(self.folder, self.sweep.search.budget, self.folder.trials())
        bridge = OptunaBridge(self.sweep, self.folder)
        with contextlib.suppress(ray.tune.error.TuneError if dies_at else ()):
            every = [Death(dies_at), *callbacks]
            search.tune_trials(context, lambda: self.slots, bridge, every, over, spent)
        ray.kill(fleet)
        return spent

    def states(self):
        trials = own_trials(open_study(self.sweep, self.folder))
        return {name: trial.state for name, trial in trials.items()}

    def rungs(self):
        """Rungs that each trial did, in the order of their numbers."""
        return [len(record.read(self.folder, name)) for name in sorted(self.states())]

    def close(self):
        ray.kill(self.host)


@pytest.fixture
def sweep_of(tmp_path):
    """Return a function that makes a sweep; its host ends with the test."""
    made = []

    def make(**parts):
        made.append(Sweep(tmp_path, **parts))
        return made[-1]

    yield make
    for each in made:
        each.close()


@pytest.mark.parametrize("slots", [1, 2])
def test_hyperband_fills_its_brackets_with_fewer_slots_than_trials(sweep_of, slots):
    sweep = sweep_of(schedule="name: hyperband, reduction: 2", slots=slots)
    sweep.run()
    assert sweep.rungs() == [1, 1, 2, 4, 2, 4, 4, 4, 4, 4]
    most, trained = ray.get(sweep.host.seen.remote())
    assert most <= slots
    assert len(trained) == len(set(trained)) == sum(sweep.rungs())
    complete = [state is TrialState.COMPLETE for state in sweep.states().values()]
    assert complete == [rungs == 4 for rungs in sweep.rungs()]
    assert TrialState.FAIL not in sweep.states().values()


def test_tune_hears_of_each_rung_once_whenever_the_process_of_a_trial_dies(sweep_of):
    """Before Tune has got a rung that is on record, and right after."""
    sweep = sweep_of(schedule="name: fifo", trials=2, slots=1, kills=[(0, 2)])
    told = Told(kills=[(1, 1), (1, 3)])
    sweep.run(callbacks=[told])
    every = [(number, rung) for number in (0, 1) for rung in (1, 2, 3, 4)]
    assert told.rungs == every
    assert ray.get(sweep.host.seen.remote())[1] == every
    assert set(sweep.states().values()) == {TrialState.COMPLETE}


def test_a_budget_that_is_used_up_ends_the_sweep_and_more_of_it_goes_on(sweep_of):
    sweep = sweep_of(schedule="name: fifo", trials=5, slots=1)
    spent = sweep.run("search.budget.gpu_hours=0.0025")  # nine rungs of a second
    assert spent.used_up
    assert sweep.rungs() == [4, 4, 1]
    complete, pruned = TrialState.COMPLETE, TrialState.PRUNED
    assert [*sweep.states().values()] == [complete, complete, pruned]
    sweep.run("search.budget.gpu_hours=1")
    assert sweep.rungs() == [4, 4, 1, 4, 4]
    assert [*sweep.states().values()] == [complete, complete, pruned, complete, complete]


def test_trials_that_wait_when_the_budget_is_used_up_are_stopped_and_not_failed(sweep_of):
    sweep = sweep_of(schedule="name: hyperband, reduction: 2", slots=1)
    sweep.run("search.budget.gpu_hours=0.0008")  # three rungs of a second
    assert sweep.rungs() == [1, 1, 1]
    assert set(sweep.states().values()) == {TrialState.PRUNED}


MISLED = "name: asha, grace: 1, reduction: 2, unpruned: {}"


def test_a_grace_that_misleads_is_raised_also_by_a_driver_that_resumes(sweep_of):
    sweep = sweep_of(schedule=MISLED.format(5), trials=12, slots=1, misleading=1)
    sweep.run("search.trials=7")
    assert sweep.rungs() == [4] * 7
    sweep.run()
    assert sweep.rungs() == [4] * 12


def test_without_unpruned_trials_a_misleading_rung_decides(sweep_of):
    sweep = sweep_of(schedule=MISLED.format(0), trials=4, slots=1, misleading=1)
    sweep.run()
    assert sweep.rungs() == [4, 1, 1, 1]


@pytest.mark.parametrize("name", ["asha", "median"])
def test_a_resumed_scheduler_knows_the_trials_before(sweep_of, name):
    """Trials 0 to 3 are good, the next one is the worst of all by the curves' sign."""
    sweep = sweep_of(schedule=f"name: {name}, reduction: 2", trials=5, slots=1, misleading=4)
    sweep.run("search.trials=4")
    sweep.run()
    assert sweep.rungs()[4] == 1


def test_trials_that_wait_when_the_driver_dies_go_on_from_their_records(sweep_of):
    sweep = sweep_of(schedule="name: hyperband, reduction: 2", slots=2)
    sweep.run(dies_at=8)
    assert TrialState.RUNNING in sweep.states().values()
    sweep.run()
    states, rungs = sweep.states(), sweep.rungs()
    assert set(states.values()) == {TrialState.COMPLETE, TrialState.PRUNED}
    assert [state is TrialState.COMPLETE for state in states.values()] == [n == 4 for n in rungs]
    _, trained = ray.get(sweep.host.seen.remote())
    assert len(trained) == len(set(trained)) == sum(rungs)


@pytest.mark.parametrize("dies_at", [None, 9])
def test_a_population_of_more_trials_than_slots_is_compared_once(sweep_of, dies_at):
    sweep = sweep_of(schedule="name: pbt, options: {perturbation_interval: 2}", trials=6, slots=2)
    if dies_at:
        sweep.run(dies_at=dies_at)
    sweep.run()
    assert sweep.rungs() == [4] * 6
    most, trained = ray.get(sweep.host.seen.remote())
    assert len(trained) == len(set(trained)) == 24
    assert dies_at or most <= 2
    (generation,) = segments.generations(sweep.folder)
    assert (generation.rung, len(generation.scores)) == (2, 6)
    assert [one.trial for one in generation.segments] == ["trial-000", "trial-001"]
    assert {one.donor for one in generation.segments} <= {"trial-004", "trial-005"}


def test_a_population_that_waits_is_stopped_when_the_budget_is_used_up(sweep_of):
    sweep = sweep_of(schedule="name: pbt", trials=6, slots=1)
    sweep.run("search.budget.gpu_hours=0.0013")  # five rungs of a second
    assert sweep.rungs() == [2, 2, 1]
    assert set(sweep.states().values()) == {TrialState.PRUNED}


def test_a_sweep_without_anything_left_of_its_budget_ends_at_once(sweep_of):
    sweep = sweep_of(schedule="name: fifo", trials=3, slots=1, budget="gpu_hours: 0.0012")
    sweep.run()
    before = sweep.rungs()
    sweep.run()
    assert sweep.rungs() == before == [4, 1]
