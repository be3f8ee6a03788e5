"""Trials that collapse or diverge in the middle of a host."""

import math
import re

from sweeps.results import best, record

COLLAPSING = {"train.learning_rate": 10.0, "data.limit": 32}
"""Every image gets the same words, or none; 8 images are enough to tell."""


def test_a_collapsed_trial_is_stopped_by_the_guard_without_a_best_rung(actor, context, run_of):
    """Its loss falls all the same: only what it writes tells."""
    assert actor.open(0, COLLAPSING) is None
    results = [actor.advance(0) for _ in range(2)]
    assert [result.failed for result in results] == [None, None]
    assert all(result.symptoms for result in results)
    assert results[0].guard is None
    assert results[1].guard.startswith("rung 2: 100 % of 8 images got ")
    assert not any(result.finished for result in results)
    assert [result.best for result in results] == [None, None]
    assert not context.folder.best_adapter("trial-000").exists()
    run = run_of()
    assert run.data.tags["trial.symptoms"] == results[1].guard
    assert run.data.metrics["val/loss"] == results[1].objective


def test_the_best_adapter_of_a_healthy_rung_stays(actor, context, run_of):
    actor.open(0, {**COLLAPSING, "train.learning_rate": 1e-4})
    healthy = actor.advance(0)
    slot = actor._host._slot("trial-000").slot
    slot.recipe = slot.recipe.with_point({**COLLAPSING, "guard.rungs": 1})
    result = actor.advance(0)
    assert (result.best, result.finished) == (healthy.objective, False)
    assert "rung 2" in result.guard
    assert best.read(context.folder.best_adapter("trial-000")).rung == 1
    actor.close(0)
    run = run_of()
    assert run.data.metrics["best/loss"] == healthy.objective


def test_a_loss_that_is_no_number_is_the_guards_business(actor):
    actor.open(0, {"train.learning_rate": 1e30, "train.max_grad_norm": None})
    result = actor.advance(0)
    assert (result.rung, result.failed, result.best) == (1, None, None)
    assert math.isnan(result.objective)
    assert re.match(r"rung 1: train/loss is (nan|inf) at step \d+ \(epoch 1\)", result.guard)


def test_without_the_guard_such_a_loss_is_an_error_and_a_collapse_runs_on(actor, run_out):
    off = {"guard.stop": False}
    actor.open(0, {"train.learning_rate": 1e30, "train.max_grad_norm": None, **off})
    assert "NonFiniteLossError" in actor.advance(0).failed
    actor.open(1, {**COLLAPSING, **off, "train.epochs": 3, "train.patience": None})
    results = run_out(1)
    assert [result.rung for result in results] == [1, 2, 3]
    assert results[-1].finished
    assert results[1].symptoms[0].startswith("100 % of 8 images got ")
    assert results[-1].best == min(result.objective for result in results)


def test_a_trial_that_ends_without_a_healthy_rung_was_stopped_by_the_guard(actor):
    actor.open(0, {**COLLAPSING, "train.epochs": 1})
    result = actor.advance(0)
    assert not result.finished
    assert result.guard == "rung 1: " + "; ".join(result.symptoms)
    assert not any(name.startswith("final/") for name in result.metrics)


def test_a_trial_that_the_guard_stopped_needs_no_slot_again(actor, context, runs, run_of):
    actor.open(0, COLLAPSING)
    results = [actor.advance(0) for _ in range(2)]
    actor.close(0)
    runs()[1].delete_run(run_of().info.run_id)  # as if the host had died before it wrote
    assert actor.open(0, COLLAPSING) is None
    actor.close(0)
    assert record.read(context.folder, "trial-000") == results
    assert run_of().data.tags["trial.symptoms"] == results[1].guard
