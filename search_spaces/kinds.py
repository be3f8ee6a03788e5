"""What the values of expressions can be, and what therefore cannot stand beside what."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from search_spaces.expressions import (
    ORDERS,
    Arithmetic,
    Comparison,
    Expression,
    Field,
    Literal,
    Logic,
    Not,
    walk,
)
from search_spaces.issues import show

NUMBER, TEXT, TRUTH, NULL, OTHER = "a number", "text", "true or false", "null", "a list"
Kinds = frozenset[str]


def kinds_of(values: Iterable[Any]) -> Kinds:
    """Return what the values are."""
    return frozenset(map(_kind, values))


def _kind(value: Any) -> str:
    kinds = {bool: TRUTH, int: NUMBER, float: NUMBER, str: TEXT, type(None): NULL}
    return kinds.get(type(value), OTHER)


def kind_issues(condition: Expression, fields: Mapping[str, Kinds]) -> Iterator[str]:
    """Yield what keeps an expression from being a condition where fields are of these kinds.

    Each text begins with ``must``. A field that can be null beside other values may stand where
    those may: where it is null, the condition is neither true nor false.
    """
    for each in walk(condition):
        match each:
            case Arithmetic(sign, left, right):
                yield from _others({NUMBER}, (left, right), f"numbers beside {sign}", fields)
            case Comparison(sign, left, right) if sign in ORDERS:
                yield from _others({NUMBER}, (left, right), f"numbers beside {sign}", fields)
            case Comparison(_, left, right):
                yield from _never_equal(left, right, fields)
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


def _never_equal(left: Expression, right: Expression, fields: Mapping[str, Kinds]) -> Iterator[str]:
    """Yield a comparison of, say, a number with a text. With null any field may be compared."""
    one, other = _kinds(left, fields), _kinds(right, fields)
    if OTHER in one | other or not (one & other or NULL in one | other):
        yield (
            f"must compare values of one kind, {_name(left)} is {_words(one)} and "
            f"{_name(right)} is {_words(other)}"
        )


def _kinds(expression: Expression, fields: Mapping[str, Kinds]) -> Kinds:
    match expression:
        case Literal(value):
            return kinds_of([value])
        case Field(path):
            return fields[path]
        case Arithmetic():
            return frozenset({NUMBER})
    return frozenset({TRUTH})


def _name(expression: Expression) -> str:
    match expression:
        case Literal(value):
            return show(value)
        case Field(path):
            return path
        case Arithmetic(sign):
            return f"what {sign} gives"
    return "a condition"


def _words(kinds: Iterable[str]) -> str:
    return " or ".join(sorted(kinds))
