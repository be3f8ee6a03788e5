"""The base as it is, in its compute type."""

from typing import Any

BYTES_PER_WEIGHT: float | None = None
"""The compute type decides."""


def config(dtype: Any) -> None:
    """Return None: nothing is quantized."""


def prepare(model: Any) -> None:
    """Do nothing: a plain base needs nothing."""


def why_rows_mix(device: str, *, training: bool) -> str | None:
    """Return None: each row meets the same weights."""
    return None
