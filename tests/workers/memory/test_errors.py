"""Errors that mean "too little memory" are told from others."""

import traceback
import weakref

import pytest
import torch

from workers.memory.errors import emptied, is_out_of_memory, tensor_share
from workers.memory.footprint import GPU_CONTEXT


def raised(work):
    with pytest.raises(Exception) as caught:  # noqa: PT011  whatever this torch raises
        work()
    return caught.value


def test_torch_on_a_cpu_that_is_full():
    assert is_out_of_memory(raised(lambda: torch.empty(2**55, dtype=torch.uint8)))


def test_torch_on_a_gpu_that_is_full_and_what_was_raised_because_of_it():
    def step():
        try:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
        except RuntimeError as error:
            raise ValueError("trial-003 at rung 2") from error

    assert is_out_of_memory(torch.OutOfMemoryError("CUDA out of memory."))
    assert is_out_of_memory(raised(step))
    assert is_out_of_memory(MemoryError())


def test_an_error_keeps_the_lines_that_raised_it_and_nothing_that_they_held():
    seen = []

    def step():
        held = torch.zeros(3)
        seen.append(weakref.ref(held))
        return held @ torch.zeros(2)

    def caught():
        try:
            step()
        except RuntimeError as error:
            return emptied(error)

    error = caught()
    assert seen[0]() is None
    assert [frame.name for frame in traceback.extract_tb(error.__traceback__)] == ["step"]


def test_other_errors_are_none():
    assert not is_out_of_memory(raised(lambda: torch.zeros(2) @ torch.zeros(3)))
    assert not is_out_of_memory(ValueError("loss is nan"))
    assert not is_out_of_memory(RuntimeError("this ran out of memory of its youth"))


def test_hosts_that_share_a_gpu_fit_on_it_with_their_contexts():
    whole = 24e9
    assert 2 * (tensor_share(0.5, whole) * whole + GPU_CONTEXT) == pytest.approx(whole)
    assert tensor_share(0.01, whole) == 0.0
