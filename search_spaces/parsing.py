"""Texts such as ``adapter.alpha <= 4 * adapter.rank`` as expressions.

The text is parsed as Python and never run: whatever is not in the short list of what rules may
hold, such as a call, an index or a power, is refused.
"""

import ast
import warnings
from collections.abc import Mapping
from typing import Any

from search_spaces.expressions import Expression, Field, Literal, Logic, Not, Operation
from search_spaces.issues import Issue, SpaceError, show
from search_spaces.values import is_value

LONGEST, DEEPEST = 1000, 50
"""Characters of a rule, and how deep its parts may lie in each other."""
EXAMPLE = "adapter.alpha <= 4 * adapter.rank"

_WORDS: Mapping[str, bool | None] = {"true": True, "false": False, "null": None}
_ARITHMETIC: Mapping[type[ast.operator], str] = dict(
    zip((ast.Add, ast.Sub, ast.Mult, ast.Div), "+-*/", strict=True)
)
_COMPARED = (ast.Lt, ast.LtE, ast.Gt, ast.GtE, ast.Eq, ast.NotEq)
_SIGNS = ("<", "<=", ">", ">=", "==", "==")
_COMPARISONS: Mapping[type[ast.cmpop], str] = dict(zip(_COMPARED, _SIGNS, strict=True))


def parse(text: Any) -> Expression:
    """Return the expression that `text` is; raises `SpaceError` for any other text or value."""
    if not isinstance(text, str) or len(text) > LONGEST:
        raise _error(f"must be a text of at most {LONGEST} characters, such as {EXAMPLE}", text)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Python's advice on texts with backslashes
            tree = ast.parse(text.strip(), mode="eval")
    except SyntaxError as error:
        raise _error(f"must be a condition such as {EXAMPLE}: {error.msg}", text) from None
    except (ValueError, RecursionError, MemoryError):  # null bytes; thousands of signs in a row
        raise _error(f"must be a condition such as {EXAMPLE}", text) from None
    return _Reader(text.strip()).read(tree.body, 0)


def _error(must: str, text: Any) -> SpaceError:
    return SpaceError(Issue((), must, show(text)))


class _Reader:
    """Turns Python's syntax tree of one text into an expression."""

    def __init__(self, text: str) -> None:
        self._text = text

    def read(self, node: ast.expr, depth: int) -> Expression:
        """Return the expression of a node that lies `depth` levels below the top."""
        if depth > DEEPEST:
            raise _error(f"must not be nested more than {DEEPEST} deep", self._text)
        depth += 1
        match node:
            case ast.Constant() | ast.UnaryOp(ast.USub(), ast.Constant()):
                return self._literal(node)
            case ast.Name() | ast.Attribute():
                return self._field(node)
            case ast.BinOp(left, sign, right) if type(sign) in _ARITHMETIC:
                sides = self.read(left, depth), self.read(right, depth)
                return Operation(_ARITHMETIC[type(sign)], *sides)
            case ast.UnaryOp(ast.USub(), operand):
                return Operation("-", Literal(0), self.read(operand, depth))
            case ast.UnaryOp(ast.Not(), operand):
                return Not(self.read(operand, depth))
            case ast.BoolOp(word, values):
                name = "or" if isinstance(word, ast.Or) else "and"
                return Logic(name, tuple(self.read(value, depth) for value in values))
            case ast.Compare():
                return self._chain(node, depth)
        raise self._refused(node)

    def _literal(self, node: ast.expr) -> Literal:
        negative = isinstance(node, ast.UnaryOp)
        constant = node.operand if isinstance(node, ast.UnaryOp) else node
        value: Any = constant.value if isinstance(constant, ast.Constant) else None
        if not is_value(value) or (negative and isinstance(value, (bool, str, type(None)))):
            raise self._refused(node)
        try:
            float(value if isinstance(value, int) else 0)
        except OverflowError:
            raise self._refused(node) from None
        return Literal(-value if negative else value)

    def _field(self, node: ast.expr) -> Expression:
        keys, inner = [], node
        while isinstance(inner, ast.Attribute):
            keys.append(inner.attr)
            inner = inner.value
        if not isinstance(inner, ast.Name):
            raise self._refused(node)
        path = ".".join([inner.id, *reversed(keys)])
        return Literal(_WORDS[path]) if path in _WORDS else Field(path)

    def _chain(self, node: ast.Compare, depth: int) -> Expression:
        """Return ``a < b < c`` as ``a < b and b < c``, ``a in [1, 2]`` as ``a == 1 or a == 2``."""
        links: list[Expression] = []
        lefts = [node.left, *node.comparators]
        for left, sign, right in zip(lefts, node.ops, node.comparators, strict=False):
            link: Expression
            if isinstance(sign, (ast.In, ast.NotIn)):
                member = self.read(left, depth)
                if not (isinstance(right, (ast.List, ast.Tuple)) and right.elts):
                    raise _error("must have a list of one or more values after in", self._text)
                values = [self.read(each, depth) for each in right.elts]
                if not all(isinstance(value, Literal) for value in values):
                    raise _error("must have a list of values after in, without fields", self._text)
                link = Logic("or", tuple(Operation("==", member, value) for value in values))
            elif type(sign) in _COMPARISONS:
                sides = self.read(left, depth), self.read(right, depth)
                link = Operation(_COMPARISONS[type(sign)], *sides)
            else:
                raise _error("must compare with <, <=, ==, !=, >=, >, in or not in", self._text)
            links.append(Not(link) if isinstance(sign, (ast.NotIn, ast.NotEq)) else link)
        return links[0] if len(links) == 1 else Logic("and", tuple(links))

    def _refused(self, node: ast.expr) -> SpaceError:
        part = ast.get_source_segment(self._text, node) or self._text
        return _error(
            "must be made of fields, numbers, texts in quotes, + - * /, comparisons, and, or, "
            f"not and in [...], not of {show(part)}",
            self._text,
        )
