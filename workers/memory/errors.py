"""Errors that mean "out of memory", and a process's own share of a GPU: kept to, read, released."""

import gc

import torch

from workers.memory.footprint import Reading

_SIGNS = ("DefaultCPUAllocator", "CUBLAS_STATUS_ALLOC_FAILED", "CUDNN_STATUS_ALLOC_FAILED")
"""In a plain RuntimeError: torch names its allocator when the machine's memory is full, cuBLAS and
cuDNN report that their own work space does not fit."""


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


def limit(share: float) -> None:
    """Limit this process to its share of its GPU."""
    if share < 1 and torch.cuda.is_available():
        torch.cuda.set_per_process_memory_fraction(share)


def release() -> None:
    """Give back the memory of models that nobody refers to any more."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def reading(device: torch.device) -> Reading | None:
    """Return what a GPU has held since `workers.measures.forget_peak_memory`; None for a CPU."""
    if device.type != "cuda":
        return None
    return Reading(
        peak=torch.cuda.max_memory_allocated(device), held=torch.cuda.memory_allocated(device)
    )
