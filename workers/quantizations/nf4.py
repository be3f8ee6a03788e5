"""4-bit NormalFloat with double quantization (QLoRA, Dettmers et al. 2023)."""

from typing import Any

from workers.quantizations import _four_bit
from workers.quantizations._four_bit import prepare, why_rows_mix

__all__ = ["prepare", "why_rows_mix"]

BYTES_PER_WEIGHT: float | None = 0.516
"""4 bits, and a scale of 8 bits for each block of 64 weights, which is quantized again."""


def config(dtype: Any) -> Any:
    """Return the bitsandbytes config; matrices are multiplied in `dtype`."""
    return _four_bit.config("nf4", dtype, double=True)
