"""The values that fields of a recipe take in a search space."""

import math
from typing import Any

from search_spaces.issues import show

Value = bool | int | float | str | None


def same(one: Any, other: Any) -> bool:
    """Return whether two values are the same: 16 and 16.0 are, 1 and true are not.

    Numbers may differ by rounding, as 0.15 and the third step of 0.05 do.
    """
    if is_number(one) and is_number(other):
        try:
            return math.isclose(one, other, rel_tol=1e-9, abs_tol=1e-12)
        except OverflowError:  # a whole number of more than 308 digits
            return bool(one == other)
    return type(one) is type(other) and bool(one == other)


def is_number(value: Any) -> bool:
    """Return whether `value` is a finite number; true and false are none."""
    return is_whole(value) or (isinstance(value, float) and math.isfinite(value))


def is_whole(value: Any) -> bool:
    """Return whether `value` is an int; 4.0 is none."""
    return isinstance(value, int) and not isinstance(value, bool)


def is_value(value: Any) -> bool:
    """Return whether `value` is one that a categorical parameter of Optuna can take."""
    return value is None or isinstance(value, (bool, str)) or is_number(value)


def plain(value: Value) -> str:
    """Return a value as text, without quotes."""
    return value if isinstance(value, str) else show(value)


def listed(values: Any) -> tuple[Any, ...]:
    """Return the values of a list, or a single value as the only one."""
    return tuple(values) if isinstance(values, (list, tuple)) else (values,)
