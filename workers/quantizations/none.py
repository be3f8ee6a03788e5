"""The base as it is, in its compute type."""

from typing import Any


class Unquantized:
    """Weights in the compute type."""

    bytes_per_weight: float | None = None

    def config(self, dtype: Any, unquantized: list[str] | None = None) -> None:
        """Return None: nothing is quantized."""

    def prepare(self, model: Any) -> None:
        """Do nothing: a plain base needs nothing."""
