"""The pretended GPU finds what a real one would refuse or wait for, and leaves numbers alone."""

import pytest
import torch
from torch.utils.checkpoint import checkpoint

from benchmarks.pretend_gpu import PretendGpu


@pytest.fixture
def gpu():
    with PretendGpu() as gpu:
        yield gpu


@pytest.fixture
def on_gpu(gpu):
    """A tensor (2, 3) of the pretended GPU, with nothing counted yet."""
    tensor = torch.arange(6.0).view(2, 3).to(gpu.device)
    gpu.forget()
    return tensor


PLACE = "tests/benchmarks/test_pretend_gpu.py:"


@pytest.mark.parametrize(
    "operation",
    [
        lambda x: x + torch.ones(3),
        lambda x: torch.nn.functional.linear(x, torch.ones(4, 3)),
        lambda x: torch.cat([x, torch.ones(2, 3)]),
        lambda x: x.add_(torch.ones(3)),
        lambda x: torch.ones(2, 3)[x.long()],
    ],
)
def test_tensors_of_two_devices_are_refused(on_gpu, operation):
    with pytest.raises(RuntimeError, match=rf"at {PLACE}\d+: all tensors must be on cuda:0"):
        operation(on_gpu)


def test_a_forgotten_device_in_a_backward_is_found(on_gpu):
    class Forgetful(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            return x * 2

        @staticmethod
        def backward(ctx, gradient):
            return gradient * torch.ones(gradient.shape)

    with pytest.raises(RuntimeError, match="mul at"):
        Forgetful.apply(on_gpu.requires_grad_()).sum().backward()


@pytest.mark.parametrize(
    "operation",
    [
        lambda x: x.sum().item(),
        lambda x: float(x[0, 0]),
        lambda x: bool((x > 1).any()),
        lambda x: x.tolist(),
        lambda x: x.cpu(),
        lambda x: x.to("cpu"),
        lambda x: torch.empty(2, 3).copy_(x),
        lambda x: x.nonzero(),
        lambda x: x[x > 1],
        lambda x: torch.cuda.synchronize(),
    ],
)
@pytest.mark.parametrize("inference", [False, True])
def test_a_wait_is_counted_with_its_line(gpu, on_gpu, operation, inference):
    with torch.inference_mode(inference):
        operation(on_gpu)
    ((line, count),) = gpu.waits.items()
    assert count == 1
    assert PLACE in line
    assert not gpu.copies


@pytest.mark.parametrize(
    "operation",
    [
        lambda x: torch.ones(3).to(x.device),
        lambda x: torch.ones(3).cuda(),
        lambda x: torch.ones(3).to(x),
        lambda x: torch.tensor([1, 2], device=x.device),
        lambda x: torch.as_tensor([1.0], device="cuda"),
        lambda x: x.new_tensor([1.0]),
        lambda x: x.copy_(torch.ones(2, 3)),
        lambda x: x[torch.tensor([1, 0])],
    ],
)
def test_a_blocking_copy_is_counted_with_its_line(gpu, on_gpu, operation):
    assert operation(on_gpu).device == gpu.device
    ((line, count),) = gpu.copies.items()
    assert count == 1
    assert PLACE in line
    assert not gpu.waits


@pytest.mark.parametrize(
    "operation",
    [
        lambda x: torch.ones(3).to(x.device, non_blocking=True),
        lambda x: x.copy_(torch.ones(2, 3).pin_memory(), non_blocking=True),
        lambda x: torch.empty(2, 3).copy_(x, non_blocking=True),
        lambda x: x * torch.tensor(2.0) + 1,
        lambda x: torch.zeros(3, device=x.device) + x.new_ones(3),
        lambda x: x[torch.arange(2, device=x.device)],
    ],
)
def test_what_neither_waits_nor_blocks_is_not_counted(gpu, on_gpu, operation):
    operation(on_gpu)
    assert not gpu.waits
    assert not gpu.copies


def test_what_was_copied_from_stays_on_the_cpu(gpu):
    source = torch.ones(3)
    copies = [torch.as_tensor(source, device=gpu.device), source.to(gpu.device), source.cuda()]
    assert {copy.device for copy in copies} == {gpu.device}
    assert source.device == torch.device("cpu")


def _product(x):
    return (torch.tanh(x @ x.mT) * x.new_full((1,), 0.5)).sum()


@pytest.mark.parametrize("recomputed", [False, True])
def test_numbers_and_gradients_are_those_of_the_cpu(gpu, on_gpu, recomputed):
    def gradient(x):
        x.requires_grad_()
        loss = checkpoint(_product, x, use_reentrant=False) if recomputed else _product(x)
        loss.backward()
        return x.grad

    there = gradient(on_gpu)
    assert there.device == gpu.device
    assert torch.equal(there.to("cpu"), gradient(torch.arange(6.0).view(2, 3)))


def test_kernels_are_counted_and_views_are_not(gpu, on_gpu):
    torch.ones(3) + 1  # on the CPU
    torch.nn.functional.linear(on_gpu.view(3, 2).mT[:1], torch.ones(4, 3, device=gpu.device))
    assert gpu.launches == {"ones": 1, "mm": 1}
    with torch.inference_mode():
        gpu.forget()
        torch.nn.functional.linear(on_gpu, on_gpu)
    assert gpu.launches == {"mm": 1}


def test_a_module_moves_as_to_a_gpu(gpu):
    layer = torch.nn.BatchNorm1d(3).to(gpu.device)
    assert {tensor.device for tensor in layer.state_dict().values()} == {gpu.device}
    with pytest.raises(RuntimeError, match="all tensors must be on"):
        layer(torch.ones(2, 3))
