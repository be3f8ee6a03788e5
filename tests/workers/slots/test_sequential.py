"""A trial that trains alone and does not fit goes on in smaller forwards, and loses nothing."""

from contextlib import nullcontext
from dataclasses import replace

import pytest
import torch

from benchmarks.pretend_gpu import CPU, CUDA, PretendGpu
from workers import data
from workers.host.host import Host
from workers.memory import errors, limits
from workers.models.loading import load_base
from workers.slots.sequential import SequentialTrainer
from workers.training import loop
from workers.training.loop import Examples, NonFiniteLossError
from workers.training.optimizer import OptimizerError

WHOLE = {"adapter.dropout": 0.0, "train.batch_size": 6, "train.epochs": 2}


@pytest.fixture
def host(tmp_path, monkeypatch):
    monkeypatch.setenv("SWEEPS_CACHE", str(tmp_path))  # features of other tests are not found
    host = Host(device="cpu", threads=1, packing=False)
    yield host
    host.close()


@pytest.fixture
def recipe(recipe):
    return recipe.with_point(WHOLE)


@pytest.fixture
def cramped(monkeypatch):
    """Return a function: rows that fit -> the rows that were tried, from then on.

    Memory runs out for real after the backward pass of what does not fit: its gradient is there.
    """

    def cramp(fits):
        tried, forward = [], loop.token_loss

        class Overflowing:
            def __init__(self, loss):
                self.loss = loss

            def __mul__(self, share):
                return Overflowing(self.loss * share)

            def backward(self):
                self.loss.backward()
                torch.empty(2**55)

        def limited(base, model, batch, smoothing=0.0):
            loss = forward(base, model, batch, smoothing)
            if not model.training:
                return loss
            tried.append(len(batch["labels"]))
            return loss if fits(tried[-1]) else Overflowing(loss)

        monkeypatch.setattr(loop, "token_loss", limited)
        return tried

    return cramp


def trained(host, recipe, name="one"):
    """Train a trial to its end; the losses of its rungs."""
    host.admit(name, recipe)
    reports = [host.advance(name) for _ in range(recipe.train.epochs)]
    host.evict(name)
    keys = ("train/loss", "val/loss")
    return [pytest.approx([report.metrics[key] for key in keys], abs=1e-4) for report in reports]


def losses(expected):
    return [list(each.expected) for each in expected]


def test_rows_are_halved_at_the_same_effective_batch(host, recipe, cramped):
    undisturbed = trained(host, recipe)
    tried = cramped(lambda rows: rows <= 2)
    assert losses(trained(host, recipe)) == undisturbed
    assert tried[:4] == [6, 6, 3, 1]  # first the kept features leave
    assert set(tried[3:]) == {1}  # what is known not to fit is not tried again soon


def test_the_next_trial_begins_with_all_its_rows(host, recipe, cramped):
    tried = cramped(lambda rows: rows <= 2)
    trained(host, recipe)
    tried.clear()
    trained(host, recipe)
    assert tried[:3] == [6, 3, 1]


def test_a_trial_begins_with_the_rows_that_are_expected_to_fit(host, recipe, cramped, monkeypatch):
    undisturbed = trained(host, recipe)
    tried = cramped(lambda rows: rows <= 2)
    monkeypatch.setattr(host.residents.device_memory, "rows", lambda names, wanted: 2)
    assert losses(trained(host, recipe)) == undisturbed
    assert set(tried) == {2}


def test_before_steps_become_smaller_what_nobody_uses_leaves_the_device(host, recipe, cramped):
    undisturbed = trained(host, recipe)
    trained(host, recipe.with_point({"model.dtype": "bfloat16"}), "other")
    residents = host.residents
    tried = cramped(lambda rows: len(residents) == 1)
    assert losses(trained(host, recipe)) == undisturbed
    assert set(tried) == {6}
    assert len(residents) == 1


def test_rows_return_with_a_later_epoch_of_the_same_trial(host, recipe, cramped, monkeypatch):
    monkeypatch.setattr(limits, "PATIENCE", 2)
    once = iter([False, False])
    tried = cramped(lambda rows: next(once, True))
    trained(host, recipe)
    assert tried[:3] == [6, 6, 3]
    assert 6 in tried[3:]


def test_what_does_not_fit_with_one_row_ends_with_that_error(host, recipe, cramped):
    tried = cramped(lambda rows: False)
    host.admit("huge", recipe)
    host.begin("huge")
    done = []
    while host.busy:
        done += host.step()
    (ended,) = done
    assert errors.is_out_of_memory(ended.error)
    # First the features leave that it has kept so far.
    assert tried == [6, 6, 3, 1]


def test_a_step_of_the_optimizer_is_not_taken_twice(host, recipe, monkeypatch):
    """It may have changed some of the weights, and needs as much for a single row."""
    calls = []

    def failing(self, closure=None):
        calls.append("step")
        torch.empty(2**55)

    monkeypatch.setattr(torch.optim.AdamW, "step", failing)
    host.admit("one", recipe)
    with pytest.raises(OptimizerError) as raised:
        host.advance("one")
    assert errors.is_out_of_memory(raised.value)
    assert calls == ["step"]


DIVERGING = {"train.learning_rate": 1e30, "train.max_grad_norm": None, "train.batch_size": 1}


def turns_until_nan(recipe, device):
    """Train a diverging trial; the turns that it got, and its error."""
    base = load_base(recipe.model, recipe.quantization, CPU)
    with PretendGpu() if device == CUDA else nullcontext():
        base.model.to(device)
        base = replace(base, device=device)
        trainer, turns, ended = SequentialTrainer(base), 0, []
        trainer.admit("one", recipe)
        samples = data.load(recipe.data).splits["train"]
        trainer.begin("one", Examples.of(base, samples + samples))
        while trainer.busy:
            ended, turns = trainer.step(), turns + 1
    (trained,) = ended
    assert isinstance(trained.error, NonFiniteLossError)
    return turns, trained.error


def test_losses_are_read_less_often_on_a_gpu_and_a_nan_keeps_its_step(recipe):
    recipe = recipe.with_point({**DIVERGING, "train.accumulate": 1})
    early, error = turns_until_nan(recipe, CPU)
    late, same = turns_until_nan(recipe, CUDA)
    assert early < late == 16
    assert str(same) == str(error)
