"""Errors that mean "out of memory", and a process's own share of a GPU: kept to, and released."""

import traceback
from typing import TypeVar

import torch
from accelerate.utils.memory import clear_device_cache

from workers.memory.footprint import GPU_CONTEXT

_SIGNS = ("DefaultCPUAllocator", "CUBLAS_STATUS_ALLOC_FAILED", "CUDNN_STATUS_ALLOC_FAILED")
"""In a plain RuntimeError: torch names its allocator when the machine's memory is full, cuBLAS and
cuDNN report that their own work space does not fit."""


E = TypeVar("E", bound=Exception)


def is_out_of_memory(error: BaseException) -> bool:
    """Return whether an error, or one that caused it, is a failed allocation of memory."""
    seen: BaseException | None = error
    while seen is not None:
        if isinstance(seen, (MemoryError, torch.OutOfMemoryError)):
            return True
        if isinstance(seen, RuntimeError) and any(sign in str(seen) for sign in _SIGNS):
            return True
        seen = seen.__cause__ or (None if seen.__suppress_context__ else seen.__context__)
    return False


def emptied(error: E) -> E:
    """Return an error that was caught, whose frames hold nothing any more: no tensors either.

    The lines where it was raised stay in its traceback, without the caller's own frame, which
    is still in use.
    """
    seen: BaseException | None = error
    while seen is not None:
        traceback.clear_frames(seen.__traceback__)
        seen = seen.__cause__ or seen.__context__
    inner = error.__traceback__.tb_next if error.__traceback__ else None
    return error.with_traceback(inner)


def limit(share: float) -> None:
    """Limit this process to its share of its GPU: its tensors to what CUDA's context leaves."""
    if share < 1 and torch.cuda.is_available():
        whole = torch.cuda.get_device_properties(0).total_memory
        torch.cuda.set_per_process_memory_fraction(tensor_share(share, whole))


def tensor_share(share: float, whole: float) -> float:
    """Return the share of a GPU with `whole` bytes for the tensors of a host that has `share`.

    torch limits its tensors alone; beside them lies the context, one of each process.
    """
    return max(0.0, share - GPU_CONTEXT / whole)


def release() -> None:
    """Give back the memory of models that nobody refers to any more."""
    clear_device_cache(garbage_collection=True)
