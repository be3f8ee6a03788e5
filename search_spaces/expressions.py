"""Expressions over the fields of a point, as frozen values: evaluated, and checked by kind.

`search_spaces.parsing` makes them of texts.
"""

import math
import operator
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from search_spaces.issues import show
from search_spaces.values import Value, same

UNKNOWN = object()
"""An undefined value, such as that of ``null < 3``: neither true nor false, as in SQL."""


@dataclass(frozen=True)
class Literal:
    """A value as it is written."""

    value: Value


@dataclass(frozen=True)
class Field:
    """The value of a recipe's field."""

    path: str


@dataclass(frozen=True)
class Operation:
    """Two numbers in arithmetic, or two values compared: equal also if rounding alone differs."""

    sign: str
    """One of `ARITHMETIC`, one of `ORDERS`, or ``==``."""
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


Expression = Literal | Field | Operation | Logic | Not


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
_NUMERIC = {**ARITHMETIC, **ORDERS}


def evaluate(expression: Expression, values: Mapping[str, Any]) -> Any:
    """Return the value of an expression where fields have these values; raises nothing.

    `UNKNOWN` for a field that has none, and for arithmetic and order beside anything but numbers.
    """
    match expression:
        case Literal(value):
            return value
        case Field(path):
            return values.get(path, UNKNOWN)
        case Operation("==", left, right):
            one, other = evaluate(left, values), evaluate(right, values)
            return UNKNOWN if one is UNKNOWN or other is UNKNOWN else same(one, other)
        case Operation(sign, left, right):
            numbers = _numbers(evaluate(left, values), evaluate(right, values))
            return _NUMERIC[sign](*numbers) if numbers else UNKNOWN
        case Logic(word, conditions):
            # One true condition decides an `or`, a false one an `and`.
            decisive, found = word == "or", [evaluate(each, values) for each in conditions]
            if any(value is decisive for value in found):
                return decisive
            return UNKNOWN if any(value is UNKNOWN for value in found) else not decisive
        case Not(condition):
            value = evaluate(condition, values)
            return UNKNOWN if value is UNKNOWN else value is False


def _numbers(left: Any, right: Any) -> tuple[float, float] | None:
    """Return both as floats, which unlike whole numbers never grow long; None unless both are."""
    if any(isinstance(each, bool) or not isinstance(each, (int, float)) for each in (left, right)):
        return None
    try:
        return float(left), float(right)
    except OverflowError:
        return None


def walk(expression: Expression) -> Iterator[Expression]:
    """Yield the expression and all below it, as they stand in the text."""
    yield expression
    parts: tuple[Expression, ...] = ()
    match expression:
        case Operation(_, left, right):
            parts = left, right
        case Logic(_, conditions):
            parts = conditions
        case Not(condition):
            parts = (condition,)
    for part in parts:
        yield from walk(part)


def fields_of(expression: Expression) -> tuple[str, ...]:
    """Return the fields that an expression reads, each once."""
    paths = (each.path for each in walk(expression) if isinstance(each, Field))
    return tuple(dict.fromkeys(paths))


NUMBER, TEXT, TRUTH, NULL, OTHER = "a number", "text", "true or false", "null", "a list"
Kinds = frozenset[str]


def kinds_of(values: Iterable[Any]) -> Kinds:
    """Return the kinds of these values."""
    kinds = {bool: TRUTH, int: NUMBER, float: NUMBER, str: TEXT, type(None): NULL}
    return frozenset(kinds.get(type(value), OTHER) for value in values)


def kind_issues(condition: Expression, fields: Mapping[str, Kinds]) -> Iterator[str]:
    """Yield why an expression is no condition where fields are of these kinds.

    Each text begins with ``must``. A field that can be null beside other values may stand where
    those may: where it is null, the condition is neither true nor false.
    """
    for each in walk(condition):
        match each:
            case Operation("==", left, right):
                # With null any field may be compared.
                one, other = _kinds(left, fields), _kinds(right, fields)
                if OTHER in one | other or not (one & other or NULL in one | other):
                    yield (
                        f"must compare values of one kind, {_name(left)} is {_words(one)} and "
                        f"{_name(right)} is {_words(other)}"
                    )
            case Operation(sign, left, right):
                yield from _others({NUMBER}, (left, right), f"numbers beside {sign}", fields)
            case Logic(word, conditions):
                yield from _others({TRUTH}, conditions, f"conditions beside {word}", fields)
            case Not(inner):
                yield from _others({TRUTH}, (inner,), "a condition after not", fields)
    if not isinstance(condition, Logic | Not):
        yield from _others({TRUTH}, (condition,), "a condition", fields)


def _others(
    right: set[str], parts: Iterable[Expression], what: str, fields: Mapping[str, Kinds]
) -> Iterator[str]:
    for part in parts:
        if (kinds := _kinds(part, fields) - {NULL} or {NULL}) != right:
            yield f"must have {what}, {_name(part)} is {_words(kinds)}"


def _kinds(expression: Expression, fields: Mapping[str, Kinds]) -> Kinds:
    match expression:
        case Literal(value):
            return kinds_of([value])
        case Field(path):
            return fields[path]
        case Operation(sign) if sign in ARITHMETIC:
            return frozenset({NUMBER})
    return frozenset({TRUTH})


def _name(expression: Expression) -> str:
    match expression:
        case Literal(value):
            return show(value)
        case Field(path):
            return path
        case Operation(sign) if sign in ARITHMETIC:
            return f"what {sign} gives"
    return "a condition"


def _words(kinds: Iterable[str]) -> str:
    return " or ".join(sorted(kinds))
