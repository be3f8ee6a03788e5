"""Schedules, order of examples, and the normalisation of accumulated losses."""

from itertools import pairwise

import pytest
import torch

from workers import data
from workers.encoding.collation import on_device
from workers.host.host import Host
from workers.models.adapters import AdaptedBase
from workers.models.loading import load_base
from workers.recipe import Adapter, Data, Model, Train
from workers.training.loop import (
    Examples,
    checkpointing,
    epoch_windows,
    learning_rate,
    steps_per_epoch,
    token_loss,
)


def rates(decay, steps=10, warmup=0.2):
    train = Train(learning_rate=1.0, warmup=warmup, decay=decay)
    return [learning_rate(step, steps, train) for step in range(steps)]


def test_the_rate_rises_to_its_peak_and_then_decays():
    falling = [left / 8 for left in range(8, 0, -1)]
    assert rates("linear") == pytest.approx([0.5, 1, *falling])
    assert rates("constant") == [0.5] + [1.0] * 9
    cosine = rates("cosine")
    assert cosine[2] == 1.0
    assert cosine[6] == pytest.approx(0.5)
    assert all(one > later for one, later in pairwise(cosine[2:]))


def test_no_warm_up_starts_at_the_peak():
    assert rates("linear", warmup=0.0)[0] == 1.0


def test_every_example_comes_once_per_epoch_in_windows_of_micro_batches():
    train = Train(batch_size=3, accumulate=2, seed=7)
    windows = list(epoch_windows(20, 0, train))
    assert len(windows) == steps_per_epoch(20, train) == 4
    assert [[len(batch) for batch in window] for window in windows] == [[3, 3]] * 3 + [[2]]
    assert sorted(row for window in windows for batch in window for row in batch) == list(range(20))


def test_fewer_rows_in_a_forward_leave_the_effective_batch_as_it_is():
    def windows(most):
        made = list(epoch_windows(20, 0, Train(batch_size=3, accumulate=2, seed=7), most))
        rows = [[row for batch in window for row in batch] for window in made]
        return rows, [[len(batch) for batch in window] for window in made]

    whole, _ = windows(None)
    assert windows(3) == (whole, [[3, 3]] * 3 + [[2]])
    assert windows(2) == (whole, [[2, 2, 2]] * 3 + [[2]])
    assert windows(1) == (whole, [[1] * 6] * 3 + [[1, 1]])


def test_the_order_depends_on_seed_and_epoch_only():
    train = Train(batch_size=4, seed=3)
    first = list(epoch_windows(32, 1, train))
    assert list(epoch_windows(32, 1, train)) == first
    assert list(epoch_windows(32, 2, train)) != first
    assert list(epoch_windows(32, 1, Train(batch_size=4, seed=4))) != first
    regrouped = [
        row
        for w in epoch_windows(32, 1, Train(batch_size=2, accumulate=2, seed=3))
        for batch in w
        for row in batch
    ]
    assert regrouped == [row for window in first for batch in window for row in batch]


def test_warm_up_in_steps_goes_before_the_share():
    train = Train(learning_rate=1.0, warmup=0.5, warmup_steps=2, decay="constant")
    assert [learning_rate(step, 10, train) for step in range(3)] == [0.5, 1.0, 1.0]
    none = Train(learning_rate=1.0, warmup=0.5, warmup_steps=0)
    assert learning_rate(0, 10, none) == 1.0


@pytest.fixture(params=["git", "blip2-t5", "paligemma"])
def example(request, checkpoints):
    """A base with a batch of two examples."""
    base = load_base(Model(base=str(checkpoints(request.param))), "none", torch.device("cpu"))
    samples = data.load(Data(source="shapes", limit=12)).splits["train"][:2]
    return base, on_device(base, Examples.of(base, samples).batch(base, [0, 1]))


def test_a_smoothed_loss_is_a_mix_of_the_target_and_all_tokens(example):
    base, batch = example
    with torch.no_grad():
        plain = token_loss(base, base.model, batch).item()
        mixed = {share: token_loss(base, base.model, batch, share).item() for share in (1e-9, 0.2)}
        outputs = base.model(**batch).logits.log_softmax(-1)
    labels = batch["labels"] if base.encoder_decoder else batch["labels"][:, 1:]
    places = outputs[:, -batch["labels"].shape[1] :][:, : labels.shape[1]][labels != -100]
    assert mixed[1e-9] == pytest.approx(plain, rel=1e-5)
    assert mixed[0.2] == pytest.approx(0.8 * plain - 0.2 * places.mean().item(), rel=1e-5)


def test_smoothing_and_checkpointing_leave_the_reported_losses_alone(recipe):
    def losses(**point):
        host = Host(device="cpu", threads=1)
        fields = {f"train.{name}": value for name, value in point.items()}
        zero_shot = host.admit("one", recipe.with_point({"train.epochs": 1, **fields}))
        return zero_shot.metrics["val/loss"], host.advance("one").metrics["train/loss"]

    plain = losses()
    assert losses(activation_checkpointing=True) == plain  # dropout included
    smoothed = losses(label_smoothing=0.2)
    assert smoothed[0] == plain[0]
    assert smoothed[1] != plain[1]


def test_checkpointing_keeps_few_activations_and_gives_the_cache_back(example):
    base, batch = example
    adapted = AdaptedBase(base)
    adapted.attach("one", Adapter(rank=2, targets="text"), seed=0)
    adapted.model.train()
    plain, recomputed = (_kept(base, adapted.model, batch, wanted) for wanted in (False, True))
    assert recomputed < plain
    assert not base.model.is_gradient_checkpointing


def _kept(base, model, batch, wanted):
    """Elements that a step keeps for its backward pass."""
    sizes = []

    def count(tensor):
        sizes.append(tensor.numel())
        return tensor

    with checkpointing(base, wanted), torch.autograd.graph.saved_tensors_hooks(count, lambda t: t):
        token_loss(base, model, batch).backward()
    return sum(sizes)
