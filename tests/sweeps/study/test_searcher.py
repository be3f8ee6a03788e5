"""What is reported to Optuna about every way in which a trial can end."""

import math

import optuna
import pytest
from optuna.trial import TrialState
from ray.tune.search import ConcurrencyLimiter, Searcher

from sweeps import samplers
from sweeps.capacity import memory
from sweeps.capacity.memory import Bases, Needs
from sweeps.results import best, segments
from sweeps.results.best import Best
from sweeps.results.budget import Spent
from sweeps.results.folder import SweepFolder
from sweeps.results.segments import Generation, Segment
from sweeps.rung_result import RungResult
from sweeps.spec.load import parse
from sweeps.spec.sweep import Budget, base_of
from sweeps.study.searcher import OptunaBridge
from sweeps.study.study import (
    endings,
    importances,
    open_study,
    own_trials,
    planned_trials,
    prepare_study,
    recipe_of,
)
from sweeps.trial import Start
from workers.report import Report

FILE = """
name: bridge
model: {base: tiny:shapes}
data: {source: shapes}
search:
  space:
    adapter.rank: {choice: [2, 4, 8]}
    train.learning_rate: {log_uniform: [1e-4, 1e-1]}
  sampler: {name: random, seed: 3}
  start: []
  objective: {metric: cider}
"""


@pytest.fixture
def sweep():
    return parse(FILE)


@pytest.fixture
def folder(tmp_path):
    return SweepFolder.create(tmp_path, "bridge")


@pytest.fixture
def bridge(sweep, folder):
    return OptunaBridge(sweep, folder)


def test_points_too_large_for_every_gpu_are_not_tried(bridge, sweep, untrained_base):
    # In a pack all three would take as much as 8.
    alone = [f"model.base={untrained_base}", "resources.packing=off"]
    sweep = parse(FILE, overrides=alone)
    need = Needs(sweep, Bases(memory.local_files(sweep)))
    bridge.fit(need, lambda: need({"adapter.rank": 4}))
    configs = [bridge.suggest(f"tune-{number}") for number in range(12)]
    assert {config["point"]["adapter.rank"] for config in configs} == {2, 4}
    assert all(config["need"] == need(config["point"]) for config in configs)


def test_a_config_has_the_base_it_trains_on(bridge, sweep):
    config = bridge.suggest("a")
    assert config["base"] == base_of(sweep, config["point"])


def rung(number, value, **more):
    """A result as a trial reports it."""
    return {"rung": number, "objective": value, "best": value, "finished": False, **more}


def reported(sweep, folder, number):
    """The trial as Optuna has it, read from the file anew."""
    return own_trials(open_study(sweep, folder))[f"trial-{number:03d}"]


def test_a_finished_trial_is_complete_with_its_best_value(bridge, sweep, folder):
    bridge.suggest("a")
    bridge.on_trial_result("a", rung(1, 0.5))
    bridge.on_trial_complete("a", rung(2, 0.4, best=0.5, finished=True))
    trial = reported(sweep, folder, 0)
    assert (trial.state, trial.value) == (TrialState.COMPLETE, 0.5)
    assert trial.intermediate_values == {1: 0.5, 2: 0.4}


def test_a_stopped_trial_is_pruned_with_every_rung(bridge, sweep, folder):
    bridge.suggest("a")
    bridge.on_trial_result("a", rung(1, 0.1))
    bridge.on_trial_complete("a", rung(2, 0.2))
    trial = reported(sweep, folder, 0)
    assert trial.state == TrialState.PRUNED
    assert trial.intermediate_values == {1: 0.1, 2: 0.2}


@pytest.mark.parametrize(
    ("result", "error"),
    [
        (None, True),
        (None, False),
        ({"failed": "loss is nan", "finished": False}, False),
        (rung(1, float("nan"), finished=True), False),
        (rung(1, 0.5), True),
    ],
)
def test_a_trial_that_could_not_go_on_is_fail_and_never_running(
    bridge, sweep, folder, result, error
):
    bridge.suggest("a")
    bridge.on_trial_complete("a", result, error=error)
    assert reported(sweep, folder, 0).state == TrialState.FAIL


REASON = "rung 2: 100 % of 64 images got the same caption 'a a'"


def test_a_trial_that_the_guard_stopped_is_pruned_as_one_that_must_not_be(bridge, sweep, folder):
    bridge.suggest("a")
    bridge.on_trial_result("a", rung(1, 0.1, symptoms=["..."]))
    bridge.on_trial_complete("a", rung(2, 0.2, best=None, guard=REASON))
    trial = reported(sweep, folder, 0)
    assert trial.state == TrialState.PRUNED
    assert trial.intermediate_values == {1: 0.1, 2: 0.2}
    assert trial.user_attrs["guard"] == REASON
    assert trial.constraints == {"guard": 1.0}
    assert endings(open_study(sweep, folder))["trial-000"] == ("failed-by-guard", REASON)


def changed(folder, rung=1):
    """Give the first trial another point and the state of the second one."""
    segment = Segment(
        trial="trial-000", rung=rung, donor="trial-001", perturbed=("train.learning_rate",),
        point={"adapter.rank": 8, "train.learning_rate": 0.03},
    )  # fmt: skip
    folder.snapshot("trial-001", rung).mkdir(parents=True)
    segments.keep(folder, Generation(rung=rung, scores={}, segments=(segment,)))


def test_a_trial_that_went_on_with_another_point_is_pruned_where_its_own_ended(
    bridge, sweep, folder
):
    drawn = bridge.suggest("a")["point"]
    bridge.on_trial_result("a", rung(1, 0.1))
    changed(folder)
    bridge.on_trial_result("a", rung(2, 0.5, changes=1))
    bridge.on_trial_complete("a", rung(3, 0.6, best=0.6, changes=1, finished=True))
    trial = reported(sweep, folder, 0)
    assert (trial.state, trial.params) == (TrialState.PRUNED, drawn)
    assert trial.intermediate_values == {1: 0.1}
    (segment,) = trial.user_attrs["segments"]
    assert (segment["rung"], segment["donor"]) == (1, "trial-001")
    assert segment["point"] == {"adapter.rank": 8, "train.learning_rate": 0.03}
    assert endings(open_study(sweep, folder))["trial-000"] == ("completed", None)


def test_what_another_point_breaks_is_not_held_against_the_own_one(bridge, sweep, folder):
    bridge.suggest("a")
    bridge.on_trial_result("a", rung(1, 0.1))
    changed(folder)
    bridge.on_trial_complete("a", rung(2, 0.2, changes=1, guard=REASON, violations={"size": 1.0}))
    trial = reported(sweep, folder, 0)
    assert (trial.state, trial.constraints) == (TrialState.PRUNED, {})
    assert endings(open_study(sweep, folder))["trial-000"] == ("failed-by-guard", REASON)


def test_a_trial_with_another_point_that_was_stopped_is_not_completed(bridge, sweep, folder):
    bridge.suggest("a")
    changed(folder)
    bridge.on_trial_complete("a", rung(2, 0.2, changes=1))
    assert endings(open_study(sweep, folder))["trial-000"] == ("stopped", None)


@pytest.mark.parametrize(("best_rung", "rate"), [(1, None), (2, 0.03)])
def test_the_recipe_of_a_best_adapter_is_what_its_rung_was_trained_with(
    bridge, sweep, folder, best_rung, rate
):
    drawn = bridge.suggest("a")["point"]
    changed(folder)
    kept = Best(value=0.5, rung=best_rung, metrics={})
    report = Report(rung=best_rung, metrics={}, finished=False, seconds=0.0)
    best.keep(folder.best_adapter("trial-000"), kept, report, lambda place: place.mkdir())
    expected = rate or drawn["train.learning_rate"]
    assert recipe_of(sweep, folder, "trial-000").train.learning_rate == expected


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_loss_that_is_no_number_is_pruned_with_its_rung(bridge, sweep, folder, value):
    bridge.suggest("a")
    bridge.on_trial_complete("a", rung(1, value, best=None, guard="rung 1: train/loss is nan"))
    trial = reported(sweep, folder, 0)
    assert trial.state == TrialState.PRUNED
    assert str(trial.intermediate_values) == str({1: value})


def test_a_sick_trial_that_the_scheduler_stopped_is_pruned_like_any_other(bridge, sweep, folder):
    bridge.suggest("a")
    bridge.on_trial_complete("a", rung(1, 0.1, best=None, symptoms=["..."]))
    trial = reported(sweep, folder, 0)
    assert (trial.state, trial.constraints) == (TrialState.PRUNED, {})


def test_dying_is_fail_whatever_the_guard_said(bridge, sweep, folder):
    bridge.suggest("a")
    bridge.on_trial_complete("a", rung(2, 0.2, guard=REASON), error=True)
    assert reported(sweep, folder, 0).state == TrialState.FAIL


def collapse_above(bridge, limit, count):
    """Run trials of which the scheduler stops most at rung 1; large rates collapse at rung 3.

    A collapsed trial has the better objective, as it can be with loss. The drawn rates.
    """
    rates = []
    for number in range(count):
        rates.append(bridge.suggest(str(number))["point"]["train.learning_rate"])
        if rates[-1] > limit:
            bridge.on_trial_complete(str(number), rung(3, 5.0, best=None, guard=REASON))
        else:
            bridge.on_trial_complete(str(number), rung(1, 0.1))
    return rates


def test_tpe_keeps_away_from_where_trials_collapse(tmp_path):
    """For TPE rung 3 with 5.0 would be better than rung 1 with 0.1."""
    sampler = "{name: tpe, seed: 3, options: {startup_trials: 6}}"
    sweep = parse(FILE.replace("{name: random, seed: 3}", sampler) + "  trials: 30\n")
    folder = SweepFolder.create(tmp_path, "guarded")
    rates = collapse_above(OptunaBridge(sweep, folder), 3e-3, 30)
    early, late = (sum(rate > 3e-3 for rate in part) for part in (rates[:10], rates[20:]))
    assert early >= 3
    assert late <= 1
    assert not [t for t in open_study(sweep, folder).trials if t.state == TrialState.RUNNING]


@pytest.mark.parametrize("name", samplers.NAMES)
def test_every_sampler_goes_on_when_all_trials_collapse(name, tmp_path):
    finite = FILE.replace("{log_uniform: [1e-4, 1e-1]}", "{uniform: [0.001, 0.1], step: 0.001}")
    sweep = parse(finite.replace("name: random", f"name: {name}"))
    folder = SweepFolder.create(tmp_path, "guarded")
    bridge = OptunaBridge(sweep, folder)
    assert len(collapse_above(bridge, 0.0, 14)) == 14


def test_a_sampler_that_learns_from_finished_trials_alone_does_not_mind(bridge, sweep, folder):
    for number in range(8):
        bridge.suggest(str(number))
        ending = {"finished": True} if number % 2 else {"best": None, "guard": REASON}
        bridge.on_trial_complete(str(number), rung(2, float(number), **ending))
    study = open_study(sweep, folder)
    study.sampler = optuna.samplers.NSGAIISampler(population_size=2, seed=0)
    for _ in range(4):
        trial = study.ask()
        sweep.search.space.suggest(trial)
        study.tell(trial, 1.0)
    assert study.best_trial.number == 7


def test_the_best_rung_before_nan_counts(bridge, sweep, folder):
    bridge.suggest("a")
    bridge.on_trial_complete("a", rung(3, float("nan"), best=0.7, finished=True))
    assert reported(sweep, folder, 0).value == 0.7


def test_a_trial_says_how_much_memory_it_needs(bridge):
    assert bridge.suggest("a")["need"] == 0.0
    bridge.need = lambda point: 1e9 if point else 0.0
    assert bridge.suggest("b")["need"] == 1e9


def test_the_same_seed_proposes_the_same_points(sweep, tmp_path):
    def points(folder):
        bridge = OptunaBridge(sweep, folder)
        drawn = []
        for name in "abc":
            drawn.append(bridge.suggest(name)["point"])
            bridge.on_trial_complete(name, rung(1, 0.1, finished=True))
        return drawn

    first = points(SweepFolder.create(tmp_path, "one"))
    assert points(SweepFolder.create(tmp_path, "two")) == first
    assert len({str(point) for point in first}) == 3


def test_a_new_bridge_goes_on_with_the_trials_that_nobody_ended(bridge, sweep, folder):
    over = bridge.suggest("a")
    bridge.on_trial_complete("a", rung(1, 0.3, finished=True))
    running = [bridge.suggest("b"), bridge.suggest("c")]
    bridge.on_trial_result("b", rung(1, 0.3))
    again = OptunaBridge(sweep, folder)
    assert [again.suggest("d"), again.suggest("e")] == running
    next_one = again.suggest("f")
    assert next_one["number"] == 3
    assert next_one["point"] not in [config["point"] for config in (over, *running)]
    again.on_trial_result("d", rung(1, 0.3))  # a rung on record is reported again
    again.on_trial_complete("d", rung(2, 0.6, finished=True))
    trial = reported(sweep, folder, 1)
    assert (trial.state, trial.value) == (TrialState.COMPLETE, 0.6)
    assert trial.intermediate_values == {1: 0.3, 2: 0.6}


def test_why_a_trial_failed_is_reported_in_one_line(bridge, sweep, folder):
    bridge.suggest("a")
    trace = "Traceback (most recent call last):\n  File x\nValueError: loss is nan\n"
    bridge.on_trial_complete("a", {"failed": trace, "finished": False})
    bridge.suggest("b")
    bridge.on_trial_complete("b", None, error=True)
    bridge.suggest("c")
    bridge.on_trial_complete("c", rung(1, float("nan"), finished=True))
    errors = [reported(sweep, folder, number).user_attrs["error"] for number in range(3)]
    assert errors == [
        "ValueError: loss is nan",
        "the trial's processes died",
        "no rung had a score",
    ]


@pytest.mark.parametrize("key", [{"violations": {"memory": 1.0}}, {"violations/memory": 1.0}])
def test_what_does_not_fit_in_memory_is_a_constraint_and_no_failure(bridge, sweep, folder, key):
    bridge.suggest("a")
    bridge.on_trial_result("a", rung(1, 0.4))
    bridge.on_trial_complete("a", {"failed": "OutOfMemoryError: 2 GiB", "finished": False, **key})
    trial = reported(sweep, folder, 0)
    assert trial.state == TrialState.PRUNED
    assert trial.constraints == {"memory": 1.0}
    assert trial.intermediate_values == {1: 0.4}
    assert trial.user_attrs["error"] == "OutOfMemoryError: 2 GiB"
    assert endings(open_study(sweep, folder)) == {
        "trial-000": ("failed", "OutOfMemoryError: 2 GiB")
    }


def test_a_limit_that_a_finished_trial_broke_is_reported_beside_its_score(bridge, sweep, folder):
    for name, violation in {"a": 1.5, "b": -3.0}.items():
        bridge.suggest(name)
        measured = {"violations": {"peak_memory_gb": violation}}
        bridge.on_trial_complete(name, rung(2, 0.6, finished=True, **measured))
    assert reported(sweep, folder, 0).state == TrialState.COMPLETE
    assert reported(sweep, folder, 0).constraints == {"peak_memory_gb": 1.5}
    assert open_study(sweep, folder).best_trial.user_attrs["trial"] == "trial-001"
    over = ("completed", None)
    assert endings(open_study(sweep, folder)) == {"trial-000": over, "trial-001": over}


SEVERAL = FILE.replace("{metric: cider}", "[{metric: cider}, {metric: adapter_mb}]")


@pytest.fixture
def several(folder):
    sweep = parse(SEVERAL)
    return sweep, OptunaBridge(sweep, folder)


def test_several_objectives_are_reported_as_values_in_their_directions(several, folder):
    sweep, bridge = several
    bests = {"a": [0.5, 3.0], "b": [0.7, 9.0], "c": [0.4, 4.0]}
    for name, values in bests.items():
        bridge.suggest(name)
        bridge.on_trial_result(name, rung(1, values[0], objectives=values, bests=values))
        bridge.on_trial_complete(name, rung(2, 0.1, bests=values, finished=True))
    study = optuna.load_study(
        study_name=folder.sweep_id, storage=optuna.storages.JournalStorage(
            optuna.storages.journal.JournalFileBackend(str(folder.study)))
    )  # fmt: skip
    assert [trial.values for trial in study.trials] == list(bests.values())
    best = {trial.user_attrs["trial"] for trial in study.best_trials}
    assert best == {"trial-000", "trial-001"}
    assert open_study(sweep, folder).directions == study.directions


def test_a_stopped_trial_of_several_objectives_has_no_values_but_its_best_as_an_attribute(
    several, folder
):
    sweep, bridge = several
    bridge.suggest("a")
    bridge.on_trial_complete("a", rung(1, 0.5, bests=[0.5, 3.0]))
    trial = reported(sweep, folder, 0)
    assert (trial.state, trial.values, trial.intermediate_values) == (TrialState.PRUNED, None, {})
    assert trial.user_attrs["bests"] == [0.5, 3.0]


def test_a_finished_trial_without_one_of_its_objectives_is_fail(several, folder):
    sweep, bridge = several
    bridge.suggest("a")
    bridge.on_trial_complete("a", rung(1, 0.5, bests=[0.5, math.nan], finished=True))
    assert reported(sweep, folder, 0).state == TrialState.FAIL


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ((SEVERAL, FILE), "search.objective.mode must stay max, min, as its study has it, got max"),
        (("adapter_mb", "latency_ms"), "metric must stay cider, adapter_mb, got cider, latency_ms"),
        (("start: []", "start: []\n  constraints: {loss: '< 3'}"), "constraints must stay empty"),
    ],
)
def test_a_sweep_goes_on_with_its_own_objectives_and_limits_only(folder, change, message):
    prepare_study(parse(SEVERAL), folder, resuming=False)
    with pytest.raises(ValueError, match=message):
        open_study(parse(SEVERAL.replace(*change)), folder)


def test_importance_of_several_objectives_is_the_first_one_s(several, folder):
    sweep, bridge = several
    for number in range(12):
        point = bridge.suggest(str(number))["point"]
        bests = [float(point["adapter.rank"]), 1.0]
        bridge.on_trial_complete(str(number), rung(1, bests[0], bests=bests))
    assert importances(sweep, folder)["adapter.rank"] > 0.8


def test_a_space_without_more_points_ends_the_search(folder):
    space = "{adapter.rank: {choice: [2, 4]}}"
    sweep = parse(FILE.replace("search:", f"search:\n  space: {space}", 1).replace(
        """  space:
    adapter.rank: {choice: [2, 4, 8]}
    train.learning_rate: {log_uniform: [1e-4, 1e-1]}
""", ""))  # fmt: skip
    bridge = OptunaBridge(sweep, folder)
    points = [bridge.suggest(name)["point"]["adapter.rank"] for name in "ab"]
    assert sorted(points) == [2, 4]
    assert not bridge.exhausted
    assert bridge.suggest("c") is None  # somebody may ask for one more while others run
    assert bridge.exhausted
    assert planned_trials(sweep, folder) == 2
    for name in "ab":
        bridge.on_trial_complete(name, rung(1, 0.1, finished=True))
    assert bridge.suggest("c") == Searcher.FINISHED
    prepare_study(sweep, folder, resuming=True)
    assert planned_trials(sweep, folder) == 16


def test_a_trial_that_is_asked_for_comes_on_top_and_next_also_after_a_crash(folder):
    sweep = parse(FILE + "  trials: 2\n")
    bridge = OptunaBridge(sweep, folder)
    bridge.suggest("a")
    point = {"adapter.rank": 8, "train.learning_rate": 0.05}
    bridge.add(point, Start(trial="trial-000", rung=2, folder="copied"))
    asked = bridge.suggest("b")
    assert asked["point"] == point
    assert asked["start"] == {"trial": "trial-000", "rung": 2, "folder": "copied"}
    again = OptunaBridge(sweep, folder)
    assert [again.suggest(name)["start"] for name in "abc"] == [None, asked["start"], None]
    assert again.suggest("d") is None
    assert planned_trials(sweep, folder) == 3


def test_no_trial_begins_while_the_bridge_is_held(bridge):
    bridge.suggest("a")
    bridge.hold = "no room"
    assert bridge.suggest("b") is None
    bridge.on_trial_complete("a", rung(1, 0.1, finished=True))
    assert bridge.suggest("b") == Searcher.FINISHED
    assert not bridge.is_over


def test_ending_twice_or_an_unknown_trial_does_no_harm(bridge, sweep, folder):
    bridge.suggest("a")
    bridge.on_trial_complete("a", rung(1, 0.5, finished=True))
    bridge.on_trial_complete("a", None, error=True)
    bridge.on_trial_complete("never asked", rung(1, 0.9))
    assert reported(sweep, folder, 0).value == 0.5


def test_a_trial_s_recipe_is_read_back_with_its_types(bridge, sweep, folder):
    point = bridge.suggest("a")["point"]
    recipe = recipe_of(sweep, folder, "trial-000")
    assert recipe.adapter.rank == point["adapter.rank"]
    assert recipe.train.learning_rate == point["train.learning_rate"]
    with pytest.raises(KeyError, match="trial-007"):
        recipe_of(sweep, folder, "trial-007")


def test_importance_finds_the_field_that_decides(bridge, sweep, folder):
    assert importances(sweep, folder) == {}
    for number in range(12):
        point = bridge.suggest(str(number))["point"]
        value = float(point["adapter.rank"])
        bridge.on_trial_complete(str(number), rung(1, value, finished=True))
    shares = importances(sweep, folder)
    assert next(iter(shares)) == "adapter.rank"
    assert shares["adapter.rank"] > 0.8


def test_no_more_trials_than_slots(bridge):
    bridge.slots = lambda: 2
    # As Tune wraps it: its limiter must not count besides.
    limited = ConcurrencyLimiter(bridge, max_concurrent=2)
    assert [limited.suggest(name)["number"] for name in "ab"] == [0, 1]
    assert limited.suggest("c") is None
    limited.on_trial_complete("a", rung(1, 0.1))
    assert limited.suggest("c")["number"] == 2


def test_a_paused_trial_frees_its_slot_until_it_continues(bridge):
    bridge.slots = lambda: 2
    for name in "ab":
        bridge.suggest(name)
    bridge.on_pause("a")
    assert bridge.suggest("c")["number"] == 2
    bridge.on_unpause("a")
    bridge.on_trial_complete("b", rung(1, 0.1))
    assert bridge.suggest("d") is None


def test_a_trial_that_is_stopped_while_paused_ends_with_its_last_rung(bridge, sweep, folder):
    bridge.suggest("a")
    bridge.on_trial_result("a", rung(3, 0.1))
    bridge.on_pause("a")
    bridge.on_trial_complete("a")
    trial = reported(sweep, folder, 0)
    assert (trial.state, trial.intermediate_values) == (TrialState.PRUNED, {3: 0.1})


def test_nothing_starts_once_the_budget_is_used_up(bridge, sweep, folder):
    bridge.spent = Spent(folder, Budget(gpu_hours=1.0), ())
    bridge.suggest("a")
    bridge.spent.rung("trial-000", RungResult(rung=1, seconds=3600.0))
    assert bridge.suggest("b") == Searcher.FINISHED
    assert len(own_trials(open_study(sweep, folder))) == 1
