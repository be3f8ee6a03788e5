"""Telling an error that means "too little memory" from others; keeping to a share; giving back;
reading what was taken."""

import gc

import torch

from workers.memory.probe import Reading

_CPU_ALLOCATOR = "DefaultCPUAllocator"
"""Torch raises a plain RuntimeError that names its allocator when the machine's memory is full."""
_LIBRARIES = ("CUBLAS_STATUS_ALLOC_FAILED", "CUDNN_STATUS_ALLOC_FAILED")
"""What cuBLAS and cuDNN say when their own work space does not fit."""


def is_out_of_memory(error: BaseException) -> bool:
    """Say whether an error, or one that caused it, is a failed allocation of memory."""
    seen: BaseException | None = error
    while seen is not None:
        if isinstance(seen, (MemoryError, torch.OutOfMemoryError)):
            return True
        if isinstance(seen, RuntimeError) and _says_so(str(seen)):
            return True
        seen = seen.__cause__ or (None if seen.__suppress_context__ else seen.__context__)
    return False


def _says_so(text: str) -> bool:
    return any(sign in text for sign in (_CPU_ALLOCATOR, *_LIBRARIES))


def limit(share: float) -> None:
    """Let this process have no more than its share of its GPU: what it takes is others' loss."""
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
