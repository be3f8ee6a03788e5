"""Pydantic sections in words: their fields, what these must be, and errors as issues.

Nothing here depends on what a sweep file holds; any section can be validated.
"""

from collections.abc import Iterable, Mapping
from copy import deepcopy
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, TypeVar, Union, get_args, get_origin

from annotated_types import Ge, Gt, Le, Lt, MinLen
from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo

from search_spaces.issues import Issue, Keys, SpaceError, nearest, show

M = TypeVar("M", bound=BaseModel)
_NAMES: Mapping[Any, str] = {
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    str: "text",
    NoneType: "null",
    None: "null",
}
_BOUNDS: Mapping[type, str] = {Ge: "of at least", Gt: "above", Le: "at most", Lt: "below"}


def leaves(model: type[BaseModel]) -> dict[str, FieldInfo]:
    """Return the fields of `model` and its sections that hold plain values, by dotted path."""
    found: dict[str, FieldInfo] = {}
    for name, field in _keyed(model).items():
        section = _section_of(field)
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


def must_be(field: FieldInfo) -> str:
    """Return what a field holds, such as ``a whole number of at least 1``."""
    return field.description or _words(field.annotation, field.metadata)


def issues_of(model: type[BaseModel], data: Any) -> tuple[Issue, ...]:
    """Return all that keeps `data` from being a `model`."""
    try:
        model.model_validate(data)
    except ValidationError as error:
        found = [issue for detail in error.errors() for issue in _issues(model, data, detail)]
        return tuple(dict.fromkeys(found))
    return ()


def with_defaults(model: type[M], data: Any, required: Mapping[str, Any]) -> M | None:
    """Return a `model` of `data` with defaults for its invalid parts, to check the others.

    Parts without a default come from `required`. None when that does not help.
    """
    data = deepcopy(data)
    while True:
        try:
            return model.model_validate(data)
        except ValidationError as error:
            places: list[Keys] = []
            for detail in error.errors():
                reason = detail.get("ctx", {}).get("error")
                nested = reason.issues if isinstance(reason, SpaceError) else (Issue((), ""),)
                places += [(*map(str, detail["loc"]), *issue.keys) for issue in nested]
            # One part at a time: with it others may be gone, as rules of one list are.
            if not any(_replace(data, keys, required) for keys in places):
                return None


def _issues(model: type[BaseModel], data: Any, detail: Any) -> list[Issue]:
    """Return the issues that one of pydantic's errors stands for."""
    reason = detail.get("ctx", {}).get("error")
    if isinstance(reason, SpaceError):
        return [issue.below(*detail["loc"]) for issue in reason.issues]
    if detail["type"] == "extra_forbidden":
        return [_unknown_key(model, detail["loc"])]
    keys, field = _field_at(model, detail["loc"])
    if isinstance(reason, ValueError):  # a validator, whose text goes on after "must be"
        return [Issue(keys, f"must be {reason}", show(_value(data, keys)))]
    # A default that depends on a broken field is not to blame.
    if field is None or detail["type"] == "default_factory_not_called":
        return []
    must = f"must be {must_be(field)}"
    if detail["type"] == "missing":
        return [Issue(keys, must, "nothing")]
    got = _value(data, keys)
    parts = (field.annotation, *get_args(field.annotation))
    literals = [get_args(part) for part in parts if get_origin(part) is Literal]
    texts = [str(value) for values in literals for value in values]
    return [Issue(keys, must, show(got), nearest(got, texts))]


def _unknown_key(model: type[BaseModel], loc: Keys) -> Issue:
    *above, key = map(str, loc)
    section_keys, field = _field_at(model, above)
    section = (_section_of(field) if field else None) or model
    sibling = nearest(key, _keyed(section))
    near = ".".join((*section_keys, sibling)) if sibling else nearest(key, leaves(model))
    must = f"must be one of the keys {', '.join(_keyed(section))}"
    if key in leaves(model):
        must = f"must be written as a section, {key.replace('.', ': {', 1)}: ...}}"
    return Issue((*above, key), must, key, near)


def _value(data: Any, keys: Keys) -> Any:
    for key in keys:
        data = data.get(key) if isinstance(data, Mapping) else None
    return data


def _replace(data: Any, keys: Keys, required: Any) -> bool:
    """Drop the innermost part along `keys`, or add what is required there; tell if it did."""
    section, last = None, ""
    for key in keys:
        if not isinstance(data, dict):
            break
        required = required.get(key) if isinstance(required, Mapping) else None
        if key not in data:
            if required is None:
                break
            data[key] = deepcopy(required)
            return True
        section, last, data = data, key, data[key]
    if section is None or last not in section:
        return False
    del section[last]
    return True


def _section_of(field: FieldInfo) -> type[BaseModel] | None:
    """Return the section that a field holds, or None when it holds a plain value."""
    candidates = (field.annotation, *get_args(field.annotation))
    return next((c for c in candidates if isinstance(c, type) and issubclass(c, BaseModel)), None)


def _keyed(model: type[BaseModel]) -> dict[str, FieldInfo]:
    """Return the fields of a section by their keys in a file."""
    return {field.alias or name: field for name, field in model.model_fields.items()}


def _field_at(model: type[BaseModel], loc: Iterable[Any]) -> tuple[Keys, FieldInfo | None]:
    """Return the field that a pydantic location lies in, and its keys.

    Locations go on below a field, with the index in a list or the member of a union.
    """
    keys: Keys = ()
    field: FieldInfo | None = None
    section: type[BaseModel] | None = model
    for key in loc:
        if section is None or key not in _keyed(section):
            break
        keys, field = (*keys, key), _keyed(section)[key]
        section = _section_of(field)
    return keys, field


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
        return f"a section with the keys {', '.join(_keyed(kind))}"
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
