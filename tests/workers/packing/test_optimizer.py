"""The optimizer of all slots at once, and row by row, beside torch's own."""

import math

import pytest
import torch

from workers.packing import optimizer
from workers.packing.optimizer import RowStep

ROWS, WIDTH = 5, 300
KEYS = ("values", "gradients", "exp_avg", "exp_avg_sq")


def rows(seed=0):
    torch.manual_seed(seed)
    made = {key: torch.randn(ROWS, WIDTH) for key in KEYS}
    made["exp_avg_sq"].abs_()
    return made


def step(number=1, rate=1e-2, decay=0.0, most=None):
    return RowStep(number=number, learning_rate=rate, weight_decay=decay, max_norm=most)


@pytest.fixture(params=["_row_by_row", "_all_rows"])
def update(request, monkeypatch):
    monkeypatch.setattr(optimizer, "AT_ONCE", 2 * ROWS * 64)  # several parts, the last one shorter
    monkeypatch.setattr(optimizer, "_row_by_row", getattr(optimizer, request.param))
    return optimizer.step_rows


def test_each_row_steps_as_torch_steps_it_alone(update):
    steps = [step(decay=0.1), step(rate=1e-1, most=1.0), step(decay=0.5, most=1e4), None, step()]
    own = {key: torch.zeros(ROWS, WIDTH) for key in KEYS}
    own["values"] = torch.randn(ROWS, WIDTH, generator=torch.Generator().manual_seed(1))
    twins = [torch.nn.Parameter(row.clone()) for row in own["values"]]
    optimizers = [
        torch.optim.AdamW([twin], lr=each.learning_rate, weight_decay=each.weight_decay)
        for twin, each in zip(twins, steps, strict=True)
        if each
    ]
    optimizers.insert(3, None)
    for number in range(1, 30):
        gradients = rows(number)["gradients"]
        own["gradients"] += gradients
        now = [RowStep(**{**vars(each), "number": number}) if each else None for each in steps]
        update(own, now)
        for twin, gradient, each, other in zip(twins, gradients, steps, optimizers, strict=True):
            if each is None:
                continue
            twin.grad = gradient.clone()
            if each.max_norm:
                torch.nn.utils.clip_grad_norm_([twin], each.max_norm)
            other.step()
    torch.testing.assert_close(own["values"], torch.stack([t.data for t in twins]))


def test_a_row_that_does_not_step_keeps_its_bits_and_its_gradient(update):
    own, before = rows(), rows()
    update(own, [None, step(), None, step(), None])
    for key in KEYS:
        assert torch.equal(own[key][::2], before[key][::2]), key
    assert bool((own["gradients"][1::2] == 0).all())
    assert not torch.equal(own["values"][1::2], before["values"][1::2])


@pytest.mark.parametrize("size", [0.0, 1e-4, 1.0, 1e4, math.nan, math.inf])
def test_a_gradient_is_clipped_as_torch_clips_it_and_no_other(update, size):
    own, expected = rows(), rows()
    for each in (own, expected):
        each["gradients"][1] *= size
    update(own, [None, step(most=1.0), step(), None, None])
    twin = torch.nn.Parameter(torch.zeros(WIDTH))
    twin.grad = expected["gradients"][1]
    torch.nn.utils.clip_grad_norm_([twin], 1.0)
    first = expected["exp_avg"][1].lerp(twin.grad, 0.1)
    torch.testing.assert_close(own["exp_avg"][1], first, equal_nan=True)
    assert own["values"][[0, 2, 3, 4]].isfinite().all()


def test_the_two_ways_are_equal_up_to_rounding(monkeypatch):
    one, other = rows(), rows()
    steps = [step(3, 1e-2, 0.1, 1.0), None, step(1, 1e-3), step(1000, 1e-3, 0.01, 100.0), None]
    optimizer.step_rows(one, steps)
    monkeypatch.setattr(optimizer, "_row_by_row", optimizer._all_rows)
    optimizer.step_rows(other, steps)
    for key in KEYS:
        torch.testing.assert_close(one[key], other[key], rtol=1e-6, atol=1e-6)
