"""The optimizer of all slots at once, and row by row, beside torch's own."""

import math

import pytest
import torch

from workers.packing import loss_scales, optimizer
from workers.packing.loss_scales import LossScales, new_scale
from workers.packing.optimizer import RateSpan, RowStep

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


def scaled_run(gradients, overflows):
    """Rows after steps with these gradients (steps, rows, width), where some have overflowed."""
    own = {key: torch.zeros(ROWS, WIDTH) for key in KEYS}
    own["values"] = torch.randn(ROWS, WIDTH, generator=torch.Generator().manual_seed(1))
    scales = LossScales([new_scale(torch.device("cpu")) for _ in range(ROWS)])
    for number, each in enumerate(gradients, 1):
        own["gradients"] += each * scales.scale[:, None]
        for row in range(ROWS):
            if (number, row) in overflows:
                own["gradients"][row, 7] = math.inf
        steps = [step(number, decay=0.1, most=3.0) for _ in range(ROWS)]
        optimizer.step_rows(own, [*steps[:-1], None], (), scales)
    return own, scales


@pytest.mark.usefixtures("update")
def test_each_scaled_row_is_that_of_torch_s_scaler(monkeypatch):
    monkeypatch.setattr(loss_scales, "GROWTH_INTERVAL", 3)
    overflows = {(1, 0), (2, 0), (5, 0), (4, 2)}
    gradients = [rows(number)["gradients"] for number in range(12)]
    own, scales = scaled_run(gradients, overflows)
    twins = torch.randn(ROWS, WIDTH, generator=torch.Generator().manual_seed(1))
    for row in range(ROWS - 1):
        twin = torch.nn.Parameter(twins[row].clone())
        adamw = torch.optim.AdamW([twin], lr=1e-2, weight_decay=0.1, fused=True)
        scaler = torch.amp.GradScaler("cpu", growth_interval=3)
        for number, each in enumerate(gradients, 1):
            twin.grad = each[row] * scaler.scale(torch.ones(()))
            if (number, row) in overflows:
                twin.grad[7] = math.inf
            scaler.unscale_(adamw)
            torch.nn.utils.clip_grad_norm_([twin], 3.0)
            scaler.step(adamw)
            scaler.update()
        torch.testing.assert_close(own["values"][row], twin.data, rtol=1e-5, atol=1e-6)
        assert scales.scale[row] == scaler.get_scale()
        assert scales.left_out[row] == sum(place == row for _, place in overflows)
    assert torch.equal(own["values"][-1], twins[-1])


@pytest.mark.usefixtures("update")
def test_an_overflow_changes_no_bit_of_another_row():
    gradients = [rows(number)["gradients"] for number in range(5)]
    (calm, _), (other, _) = scaled_run(gradients, set()), scaled_run(gradients, {(1, 0), (3, 0)})
    for key in KEYS:
        assert torch.equal(calm[key][1:], other[key][1:]), key
    assert not torch.equal(calm["values"][0], other["values"][0])


def test_spans_have_one_rate_in_each_row_and_no_more_spans_than_needed(update):
    factors = torch.tensor([[1.0, 0.5, 4.0], [1.0, 1.0, 16.0], [1.0, 1.0, 0.0]])
    spans = [
        RateSpan(end, tuple(own))
        for end, own in zip((70, 90, WIDTH), factors.T.tolist(), strict=True)
    ]
    own = {key: rows[:3].clone() for key, rows in rows_of_zero_moments().items()}
    start = own["values"].clone()
    update(own, [step(decay=0.1), step(rate=1e-3), step()], spans)
    rates = torch.tensor([[1e-2], [1e-3], [1e-2]]) * torch.repeat_interleave(
        factors, torch.tensor([70, 20, WIDTH - 90]), dim=1
    )
    decayed = start * (1 - rates * torch.tensor([[0.1], [0.0], [0.0]]))
    # The first step of AdamW is as long as its rate, in the direction against the gradient.
    signs = rows_of_zero_moments()["gradients"][:3].sign()
    torch.testing.assert_close(own["values"], decayed - rates * signs, rtol=1e-4, atol=1e-6)


def rows_of_zero_moments():
    made = rows()
    return {key: rows if key in ("values", "gradients") else 0 * rows for key, rows in made.items()}
