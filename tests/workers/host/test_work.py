"""Several slots of a host in flight at once: nobody notices the others."""

import dataclasses
import math
import tempfile
import threading
import time

import pytest
import torch

from workers.evaluation.scoring import Scoring
from workers.host.host import Host
from workers.memory import errors
from workers.metrics.scorer import Scorer
from workers.training.loop import NonFiniteLossError

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
    """With twice the steps of one that began later, a slot ends later.

    In a pack both see equally many examples at a time, and end together.
    """
    host.admit("long", recipe.with_point(TWICE_AS_MANY_STEPS))
    host.admit("short", recipe)
    host.begin("long")
    host.begin("short")
    if packing:
        ends = [sorted(done.name for done in host.step()) for _ in range(20)]
        assert [names for names in ends if names] == [["long", "short"]]
    else:
        assert [done.name for done in until_idle(host)] == ["short", "long"]


def test_several_slots_take_as_many_turns_as_one(host, recipe):
    turns = []
    for names in (["one"], ["two", "three", "four"]):
        for name in names:
            host.admit(name, recipe)
            host.begin(name)
        turns.append(0)
        while host._training:  # behind it, a host waits for scores, for as long as they take
            host.step()
            turns[-1] += 1
        until_idle(host)
    assert turns[0] == turns[1]


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


@pytest.fixture
def cramped(host, recipe, monkeypatch):
    """Return a function that lets memory run out in what a trainer does with too many slots."""
    trainer = host.residents.trainer(recipe)

    def cramp(work, too_much):
        roomy, asked = getattr(trainer, work), []

        def limited(names, evaluator, *beams):
            asked.append(len(names))
            if too_much(names):
                torch.empty(2**55)
            return roomy(names, evaluator, *beams)

        monkeypatch.setattr(trainer, work, limited)
        return asked

    return cramp


@pytest.mark.parametrize("work", ["predict", "losses"])
def test_slots_that_cannot_be_evaluated_together_are_in_halves(host, recipe, alone, cramped, work):
    names = ("one", "two", "three")
    for name in names:
        host.admit(name, recipe.with_point({"train.accumulate": 1}))
        host.begin(name)
    asked = cramped(work, lambda names: len(names) > 1)
    done = until_idle(host)
    assert 1 in asked
    assert sorted(each.name for each in done) == sorted(names)
    expected = alone(recipe.with_point({"train.accumulate": 1}))
    assert all([metrics(each.report)] == expected for each in done)


def test_saved_adapters_that_cannot_be_scored_together_are_in_halves(
    host, recipe, cramped, tmp_path
):
    names = ("one", "two", "three")
    for name in names:
        host.admit(name, recipe)
    for name in names:
        host.advance(name)
        host.export(name, tmp_path / name)
    expected = {name: host.score(name, tmp_path / name).predictions for name in names}
    asked = cramped("predict_saved", lambda names: len(names) > 1)
    for name in names:
        host.begin_score(name, tmp_path / name)
    done = until_idle(host)
    assert asked == [3, 1, 2, 1, 1]
    assert {each.name: each.report.predictions for each in done} == expected


def test_a_slot_that_cannot_even_be_evaluated_alone_ends_with_that_error(
    host, recipe, alone, cramped
):
    for name in ("one", "huge", "three"):
        host.admit(name, recipe)
        host.begin(name)
    cramped("predict", lambda names: "huge" in names)
    done = {each.name: each for each in until_idle(host)}
    assert errors.is_out_of_memory(done["huge"].error)
    for name in ("one", "three"):
        assert [metrics(done[name].report)] == alone(recipe)


def test_other_errors_of_an_evaluation_are_not_tried_again(host, recipe, monkeypatch):
    calls = []

    def broken(names, evaluator, beams):
        calls.append(names)
        raise ValueError("no such thing")

    monkeypatch.setattr(host.residents.trainer(recipe), "predict", broken)
    for name in ("one", "two"):
        host.admit(name, recipe)
        host.begin(name)
    done = until_idle(host)
    assert [str(each.error) for each in done] == ["no such thing"] * 2
    assert len(set(map(tuple, calls))) == len(calls)


class HeldScorer(Scorer):
    """Waits before it scores captions, while `held` is set."""

    held = threading.Event()
    gone_on = threading.Event()
    error = None

    def score_each(self, several):
        if self.held.is_set():
            assert self.gone_on.wait(timeout=10)
            if self.error:
                raise self.error
        return super().score_each(several)


@pytest.fixture
def scoring(monkeypatch):
    """What scores captions with a scorer that can be held."""
    for name in ("held", "gone_on"):
        monkeypatch.setattr(HeldScorer, name, threading.Event())
    return Scoring(HeldScorer)


@pytest.fixture
def held(packing, recipe, scoring):
    """A host with the slots "one" and "two", "one" with a rung that waits for its scores."""
    host = Host(device="cpu", threads=1, scoring=scoring, packing=packing)
    for name in ("one", "two"):
        host.admit(name, recipe)
    HeldScorer.held.set()
    host.begin("one")
    while "one" not in host._outbox:
        assert host.step() == []
    yield host
    HeldScorer.gone_on.set()
    host.close()


def test_others_train_while_captions_are_scored(held, recipe, alone):
    """They are done in the order in which they reached their rungs, whichever is scored first."""
    held.begin("two")
    while "two" not in held._outbox:
        assert held.step() == []
    HeldScorer.gone_on.set()
    done = until_idle(held)
    assert [each.name for each in done] == ["one", "two"]
    expected = alone(recipe)
    assert all([metrics(each.report)] == expected for each in done)


def test_a_wait_without_other_work_counts_as_the_rung_s_but_not_as_training(held):
    started = time.monotonic()
    for _ in range(3):
        assert held.step() == []  # the owner has its turn in between
    waited = time.monotonic() - started
    HeldScorer.gone_on.set()
    (done,) = until_idle(held)
    measured = done.report.metrics["measured/seconds_per_epoch"]
    assert done.report.seconds - measured > 0.9 * waited > 0.1


def test_an_error_of_the_scorer_ends_the_work_of_its_own_slot_only(held, monkeypatch):
    held.begin("two")
    monkeypatch.setattr(HeldScorer, "error", RuntimeError("Java ended"))
    HeldScorer.gone_on.set()
    while "one" in held._outbox:
        assert (done := held.step()) == [] or str(done[0].error) == "Java ended"
    HeldScorer.held.clear()
    (done,) = until_idle(held)
    assert (done.name, done.report.rung) == ("two", 1)


def test_a_slot_is_let_go_of_and_opened_anew_while_its_captions_are_scored(held, recipe, alone):
    held.evict("one")
    assert not held.busy
    held.admit("one", recipe.with_point(OTHER))
    held.begin("one")
    HeldScorer.gone_on.set()
    (done,) = until_idle(held)
    assert [metrics(done.report)] == alone(recipe.with_point(OTHER))


def test_a_host_closes_while_captions_are_scored_and_others_wait_to_be(held):
    held.begin("two")
    while "two" not in held._outbox:
        held.step()
    threading.Timer(0.1, HeldScorer.gone_on.set).start()
    held.close()
    assert not held.busy


@pytest.fixture
def ahead(packing, scoring):
    """A host whose slots train on before their rungs are reported."""
    host = Host(device="cpu", threads=1, scoring=scoring, packing=packing, train_ahead=True)
    yield host
    HeldScorer.gone_on.set()
    host.close()


def test_rungs_that_are_trained_ahead_are_those_of_trials_alone(ahead, recipe, alone, tmp_path):
    """At each snapshot and export the slot has gone on to the end of the next rung."""
    recipes = {"one": recipe, "two": recipe.with_point(OTHER)}
    for name, own in recipes.items():
        ahead.admit(name, own)
    together = {name: [] for name in recipes}
    for rung in range(recipe.train.epochs):
        for name in recipes:
            ahead.begin(name)
        for done in until_idle(ahead):
            together[done.name].append(metrics(done.report))
        ahead.snapshot("one", tmp_path / f"rung-{rung}")
        ahead.export("one", tmp_path / f"adapter-{rung}")
    for name, own in recipes.items():
        assert together[name] == alone(own, rungs=3)
    assert ahead.evict("one") == 0
    ahead.restore("one", recipe, tmp_path / "rung-0")
    assert [metrics(ahead.advance("one"))] == alone(recipe, rungs=2)[1:]
    ahead.evict("one")
    ahead.start_from_adapter("one", recipe, tmp_path / "adapter-1", rung=2)
    assert ahead.score("one", tmp_path / "adapter-1").predictions
    kept = [tmp_path / f"{folder}-1/adapter_model.safetensors" for folder in ("rung", "adapter")]
    assert kept[0].read_bytes() == kept[1].read_bytes()


def test_what_was_trained_ahead_goes_with_its_slot_and_is_counted(ahead, recipe, alone):
    recipe = recipe.with_point(TWICE_AS_MANY_STEPS)
    for name in ("stops", "stays"):
        ahead.admit(name, recipe)
    steps = math.ceil(len(ahead.residents.examples(recipe).pairs) / recipe.train.batch_size)
    HeldScorer.held.set()
    ahead.begin("stops")
    while "stops" not in ahead._outbox:
        assert ahead.step() == []
    for _ in range(2):
        assert ahead.step() == []
    ahead.begin("stays")
    HeldScorer.gone_on.set()
    assert ahead.advance("stops").rung == 1
    assert not ahead.is_at_work("stops")
    assert 2 <= ahead.evict("stops") <= steps
    assert [metrics(ahead.advance("stays"))] == alone(recipe)
    assert until_idle(ahead) == []  # "stays" is at the end of its next rung
    assert ahead.evict("stays") == steps


def test_a_slot_waits_where_its_state_finds_no_room(packing, recipe, monkeypatch, tmp_path):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    host = Host(device="cpu", threads=1, packing=packing, train_ahead=True)
    host.admit("one", recipe)
    (own,) = tmp_path.iterdir()
    (own / "one").write_text("no folder")
    assert host.advance("one").rung == 1
    assert not host.busy
    host.snapshot("one", tmp_path / "snapshot")
    host.close()
    assert not own.exists()


def test_a_loss_that_leaves_the_numbers_ahead_is_told_when_its_rung_is_due(
    ahead, recipe, monkeypatch
):
    ahead.admit("one", recipe)
    assert ahead.advance("one").rung == 1
    error = NonFiniteLossError("train/loss is nan", math.nan)
    step = ahead.residents.trainer(recipe).step
    monkeypatch.setattr(
        ahead.residents.trainer(recipe),
        "step",
        lambda: [dataclasses.replace(trained, error=error) for trained in step()],
    )
    assert until_idle(ahead) == []
    assert ahead.advance("one").collapsed
