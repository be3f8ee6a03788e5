"""The fields of pydantic sections in words: their dotted paths and what they must be."""

from collections.abc import Iterable, Mapping
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from annotated_types import Ge, Gt, Le, Lt, MinLen
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from search_spaces.issues import Keys

_NAMES: Mapping[Any, str] = {
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    str: "text",
    NoneType: "null",
    None: "null",
}
_BOUNDS: Mapping[type, str] = {Ge: "of at least", Gt: "above", Le: "at most", Lt: "below"}


def section_of(field: FieldInfo) -> type[BaseModel] | None:
    """Return the section that a field holds, or None when it holds a plain value."""
    candidates = (field.annotation, *get_args(field.annotation))
    return next((c for c in candidates if isinstance(c, type) and issubclass(c, BaseModel)), None)


def keyed(model: type[BaseModel]) -> dict[str, FieldInfo]:
    """Return the fields of a section by their keys in a file."""
    return {field.alias or name: field for name, field in model.model_fields.items()}


def leaves(model: type[BaseModel]) -> dict[str, FieldInfo]:
    """Return the fields of `model` and its sections that hold plain values, by dotted path."""
    found: dict[str, FieldInfo] = {}
    for name, field in keyed(model).items():
        section = section_of(field)
        if section is None:
            found[name] = field
        else:
            found |= {f"{name}.{path}": each for path, each in leaves(section).items()}
    return found


def dotted(section: BaseModel) -> dict[str, Any]:
    """Return the plain values that a section and those in it hold, by dotted path."""
    return {path: value_at(section, path) for path in leaves(type(section))}


def value_at(section: BaseModel, path: str) -> Any:
    """Return the value of a dotted field; null where a section on the way to it is null."""
    value: Any = section
    for name in path.split("."):
        value = None if value is None else getattr(value, name)
    return value


def field_at(model: type[BaseModel], loc: Iterable[Any]) -> tuple[Keys, FieldInfo | None]:
    """Return the field that a pydantic location lies in, and its keys.

    Locations go on below a field, with the index in a list or the member of a union.
    """
    keys: Keys = ()
    field: FieldInfo | None = None
    section: type[BaseModel] | None = model
    for key in loc:
        if section is None or key not in keyed(section):
            break
        keys, field = (*keys, key), keyed(section)[key]
        section = section_of(field)
    return keys, field


def must_be(field: FieldInfo) -> str:
    """Return what a field holds, such as ``a whole number of at least 1``."""
    return field.description or _words(field.annotation, field.metadata)


def options(field: FieldInfo) -> tuple[str, ...]:
    """Return the texts that a field of fixed values can be; none for other fields."""
    parts = (field.annotation, *get_args(field.annotation))
    literals = [get_args(part) for part in parts if get_origin(part) is Literal]
    return tuple(str(value) for values in literals for value in values)


def _words(kind: Any, metadata: Iterable[Any]) -> str:
    origin, args = get_origin(kind), get_args(kind)
    if origin is Annotated:
        return _words(args[0], args[1:])
    if origin is Literal:
        return ("one of " if len(args) > 1 else "") + ", ".join(map(str, args))
    if origin in (Union, UnionType):
        return " or ".join(_words(arg, ()) for arg in args)
    if origin is tuple:
        return f"a list of {_words(args[0], ())}{_bounds(metadata)}"
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        return f"a section with the keys {', '.join(keyed(kind))}"
    return _NAMES.get(kind, "a mapping") + _bounds(metadata)


def _bounds(metadata: Iterable[Any]) -> str:
    words = []
    for item in metadata:
        for bound in item.metadata if isinstance(item, FieldInfo) else (item,):
            if isinstance(bound, MinLen):
                words.append("that is not empty")
            elif type(bound) in _BOUNDS:
                limit = getattr(bound, type(bound).__name__.lower())
                words.append(f"{_BOUNDS[type(bound)]} {limit:g}")
    return f" {' and '.join(words)}" if words else ""
