"""What a slot does by itself."""

import pytest
import torch

from workers.packing.slot import PackedSlot


@pytest.mark.parametrize("size", [0.0, 1e-4, 1.0, 1e4, float("nan"), float("inf")])
def test_a_gradient_is_clipped_as_torch_clips_it(size):
    own, expected = (torch.nn.Parameter(torch.zeros(5000)) for _ in range(2))
    torch.manual_seed(0)
    own.grad = size * torch.randn(5000)
    expected.grad = own.grad.clone()
    slot = PackedSlot(
        name="one", recipe=None, fresh=None, arena=None, parameter=own, optimizer=None
    )
    slot.clip_gradient(1.0)
    torch.nn.utils.clip_grad_norm_([expected], 1.0)
    torch.testing.assert_close(own.grad, expected.grad, equal_nan=True)
