"""4-bit floating point; the scales of its blocks stay float32."""

from typing import Any

from workers.quantizations import _four_bit
from workers.quantizations._four_bit import prepare, why_rows_mix

__all__ = ["prepare", "why_rows_mix"]

BYTES_PER_WEIGHT: float | None = 0.5625
"""4 bits, and a scale of 32 bits for each block of 64 weights."""


def config(dtype: Any) -> Any:
    """Return the bitsandbytes config; matrices are multiplied in `dtype`."""
    return _four_bit.config("fp4", dtype, double=False)
