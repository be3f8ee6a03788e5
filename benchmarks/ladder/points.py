"""The trials that every rung of the ladder trains: points of the quick start's space.

The first is the recipe's own; the others were drawn once from the space, each quantization five
times, in random order.
"""

from collections.abc import Sequence
from typing import Any

FIELDS = ("train.learning_rate", "adapter.rank", "adapter.alpha", "quantization")
"""Fields of a recipe, in the order of the values below."""

_VALUES: Sequence[tuple[float, int, int, str]] = (
    (4e-3, 16, 32, "none"),
    (0.00276, 2, 8, "none"),
    (0.000477, 16, 8, "none"),
    (0.0206, 2, 8, "nf4"),
    (0.00756, 2, 32, "int8"),
    (0.006, 2, 8, "nf4"),
    (0.000381, 4, 16, "int8"),
    (0.00256, 2, 32, "int8"),
    (0.00145, 4, 8, "none"),
    (0.00588, 4, 16, "nf4"),
    (0.000494, 2, 32, "int8"),
    (0.000407, 4, 16, "none"),
    (0.00975, 16, 16, "int8"),
    (0.00325, 16, 16, "none"),
    (0.00139, 4, 32, "nf4"),
    (0.0162, 2, 32, "nf4"),
)

POINTS: Sequence[dict[str, Any]] = tuple(dict(zip(FIELDS, v, strict=True)) for v in _VALUES)
"""Dotted field -> value."""
