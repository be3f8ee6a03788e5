"""Several slots of a host in flight at once: nobody notices the others."""

import time

import pytest
import torch

from workers.host import Host
from workers.training import NonFiniteLossError

OTHER = {"adapter.rank": 2, "train.learning_rate": 3e-3, "train.seed": 5}
CHECKPOINTED = {"train.activation_checkpointing": True, "adapter.dropout": 0.2, "adapter.alpha": 4}
DIVERGING = {"train.learning_rate": 1e30, "train.max_grad_norm": None, "guard.stop": False}
TWICE_AS_MANY_STEPS = {"train.accumulate": 1}


@pytest.fixture(params=[False, True], ids=["alone", "packed"])
def packing(request):
    """Both ways of training keep to the same."""
    return request.param


@pytest.fixture
def host(packing):
    host = Host(device="cpu", threads=1, packing=packing)
    yield host
    host.close()


@pytest.fixture
def alone(packing):
    """Return a function: recipe, rungs -> metrics of each rung with no other slot on the host.

    In turns they are those to the bit; in a pack sums are taken in another order.
    """

    def run(recipe, rungs=1):
        host = Host(device="cpu", threads=1, packing=packing)
        host.admit("alone", recipe)
        reports = [metrics(host.advance("alone")) for _ in range(rungs)]
        host.close()
        tolerance = 1e-4 if packing else 0.0
        return [pytest.approx(own, rel=0.0, abs=tolerance) for own in reports]

    return run


def metrics(report):
    """A report's metrics without the times."""
    times = ("measured/seconds_per_epoch", "measured/latency_ms")
    return {name: value for name, value in report.metrics.items() if name not in times}


def until_idle(host):
    """Step until nothing is left to do; who was done, in that order."""
    done = []
    while host.busy:
        done += host.step()
    return done


def test_slots_in_flight_at_once_equal_trials_alone(host, recipe, alone):
    recipes = {
        "one": recipe,
        "two": recipe.with_point(OTHER),
        "three": recipe.with_point(CHECKPOINTED),
    }
    for name, own in recipes.items():
        host.admit(name, own)
    together = {name: [] for name in recipes}
    torch.manual_seed(99)
    before = torch.get_rng_state()
    for _ in range(2):
        for name in recipes:
            host.begin(name)
        for done in until_idle(host):
            together[done.name].append(metrics(done.report))
    assert torch.equal(torch.get_rng_state(), before)
    for name, own in recipes.items():
        assert together[name] == alone(own, rungs=2)


def test_who_comes_and_goes_in_the_middle_of_a_rung_leaves_no_trace(host, recipe, alone):
    host.admit("stays", recipe)
    host.begin("stays")
    assert host.step() == []
    host.admit("passes", recipe.with_point(OTHER))
    host.begin("passes")
    for _ in range(3):
        assert host.step() == []
    host.evict("passes")
    (done,) = until_idle(host)
    assert done.name == "stays"
    assert [metrics(done.report)] == alone(recipe)


def test_turns_are_shared_evenly(host, recipe, packing):
    """With twice the steps of one that began later, a slot ends later; in a pack both together."""
    host.admit("long", recipe.with_point(TWICE_AS_MANY_STEPS))
    host.admit("short", recipe)
    host.begin("long")
    host.begin("short")
    order = ["long", "short"] if packing else ["short", "long"]
    assert [done.name for done in until_idle(host)] == order


def test_an_error_ends_the_work_of_its_own_slot_only(host, recipe, alone):
    host.admit("broken", recipe.with_point(DIVERGING))
    host.admit("sound", recipe)
    host.begin("broken")
    host.begin("sound")
    first, last = until_idle(host)
    assert (first.name, first.report) == ("broken", None)
    assert isinstance(first.error, NonFiniteLossError)
    assert (last.name, last.error) == ("sound", None)
    assert [metrics(last.report)] == alone(recipe)


def test_what_others_are_done_with_is_kept_while_one_is_waited_for(host, recipe):
    for name in ("one", "two"):
        host.admit(name, recipe)
        host.begin(name)
    host.admit("long", recipe.with_point(TWICE_AS_MANY_STEPS))
    assert host.advance("long").rung == 1
    assert host.advance("one").rung == 1
    assert [(done.name, done.report.rung) for done in host.step()] == [("two", 1)]
    assert not host.busy


def test_a_saved_adapter_is_scored_while_others_train(host, recipe, alone, tmp_path):
    host.admit("done", recipe)
    host.advance("done")
    host.export("done", tmp_path)
    expected = host.score("done", tmp_path)
    host.admit("trains", recipe)
    host.begin("trains")
    host.begin_score("done", tmp_path)
    first, last = until_idle(host)
    assert (first.name, first.report.predictions) == ("done", expected.predictions)
    assert [metrics(last.report)] == alone(recipe)


def test_a_rung_s_seconds_are_the_slot_s_own(host, recipe):
    names = ("one", "two", "three")
    for name in names:
        host.admit(name, recipe)
        host.begin(name)
    started = time.monotonic()
    reports = [done.report for done in until_idle(host)]
    assert 0 < sum(report.seconds for report in reports) <= time.monotonic() - started
    for report in reports:
        assert report.metrics["measured/seconds_per_epoch"] < report.seconds


def test_a_slot_at_work_is_neither_begun_nor_snapshot(host, recipe, tmp_path):
    host.admit("one", recipe)
    host.begin("one")
    for refused in (
        lambda: host.begin("one"),
        lambda: host.begin_score("one", tmp_path),
        lambda: host.snapshot("one", tmp_path),
    ):
        with pytest.raises(RuntimeError, match="slot 'one' is at work"):
            refused()
    host.evict("one")
    assert not host.busy
    assert host.step() == []
