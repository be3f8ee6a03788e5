"""Expressions over the fields of a point, as frozen values, and their value in a point.

`search_spaces.parsing` makes them of texts and `search_spaces.kinds` checks them.
"""

import math
import operator
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from search_spaces.values import Value, same

UNKNOWN = object()
"""The value of what cannot be told, such as ``null < 3``: neither true nor false, as in SQL."""


@dataclass(frozen=True)
class Literal:
    """A value as it is written."""

    value: Value


@dataclass(frozen=True)
class Field:
    """The value of a recipe's field."""

    path: str


@dataclass(frozen=True)
class Arithmetic:
    """Two numbers added, subtracted, multiplied or divided."""

    sign: str
    """One of `ARITHMETIC`."""
    left: "Expression"
    right: "Expression"


@dataclass(frozen=True)
class Comparison:
    """Two values compared; numbers that differ by rounding only are equal."""

    sign: str
    """One of `ORDERS`, or ``==``."""
    left: "Expression"
    right: "Expression"


@dataclass(frozen=True)
class Logic:
    """Conditions that must all hold (``and``), or one of them (``or``)."""

    word: str
    conditions: tuple["Expression", ...]


@dataclass(frozen=True)
class Not:
    """The opposite of a condition."""

    condition: "Expression"


Expression = Literal | Field | Arithmetic | Comparison | Logic | Not


def _divide(left: float, right: float) -> float:
    """Divide as IEEE 754 does: by 0 the result is infinite or no number."""
    if right:
        return left / right
    return math.copysign(math.inf, left) if left else math.nan


ARITHMETIC: Mapping[str, Callable[[float, float], float]] = {
    "+": operator.add,
    "-": operator.sub,
    "*": operator.mul,
    "/": _divide,
}
ORDERS: Mapping[str, Callable[[float, float], bool]] = {
    "<": lambda left, right: left < right and not same(left, right),
    "<=": lambda left, right: left <= right or same(left, right),
    ">": lambda left, right: left > right and not same(left, right),
    ">=": lambda left, right: left >= right or same(left, right),
}


def evaluate(expression: Expression, values: Mapping[str, Any]) -> Any:
    """Return the value of an expression where fields have these values; raises nothing.

    `UNKNOWN` for a field that has none, and for arithmetic and order beside anything but numbers.
    """
    match expression:
        case Literal(value):
            return value
        case Field(path):
            return values.get(path, UNKNOWN)
        case Arithmetic(sign, left, right):
            numbers = _numbers(evaluate(left, values), evaluate(right, values))
            return ARITHMETIC[sign](*numbers) if numbers else UNKNOWN
        case Comparison(sign, left, right):
            return _compare(sign, evaluate(left, values), evaluate(right, values))
        case Logic(word, conditions):
            return _join(word == "or", [evaluate(each, values) for each in conditions])
        case Not(condition):
            value = evaluate(condition, values)
            return UNKNOWN if value is UNKNOWN else value is False


def _compare(sign: str, left: Any, right: Any) -> Any:
    if left is UNKNOWN or right is UNKNOWN:
        return UNKNOWN
    if sign == "==":
        return same(left, right)
    numbers = _numbers(left, right)
    return ORDERS[sign](*numbers) if numbers else UNKNOWN


def _numbers(left: Any, right: Any) -> tuple[float, float] | None:
    """Return both as floats, which unlike whole numbers never grow long; None unless both are."""
    if any(isinstance(each, bool) or not isinstance(each, (int, float)) for each in (left, right)):
        return None
    try:
        return float(left), float(right)
    except OverflowError:
        return None


def _join(decisive: bool, values: list[Any]) -> Any:
    """Join by ``or``, which one true condition decides, or by ``and``, which a false one does."""
    if any(value is decisive for value in values):
        return decisive
    return UNKNOWN if any(value is UNKNOWN for value in values) else not decisive


def parts(expression: Expression) -> tuple[Expression, ...]:
    """Return the expressions of which this one is made directly."""
    match expression:
        case Arithmetic(_, left, right) | Comparison(_, left, right):
            return left, right
        case Logic(_, conditions):
            return conditions
        case Not(condition):
            return (condition,)
    return ()


def walk(expression: Expression) -> Iterator[Expression]:
    """Yield the expression and all below it, as they stand in the text."""
    yield expression
    for part in parts(expression):
        yield from walk(part)


def fields_of(expression: Expression) -> tuple[str, ...]:
    """Return the fields that an expression reads, each once."""
    paths = (each.path for each in walk(expression) if isinstance(each, Field))
    return tuple(dict.fromkeys(paths))
