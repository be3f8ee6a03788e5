"""Pydantic's errors as issues in plain words, and a value in spite of them.

Nothing here depends on what a sweep file holds; any section can be validated.
"""

from collections.abc import Mapping
from copy import deepcopy
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from search_spaces.issues import Issue, Keys, SpaceError, nearest, show
from sweeps.spec.fields import field_at, keyed, leaves, must_be, options, section_of

M = TypeVar("M", bound=BaseModel)


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
    keys, field = field_at(model, detail["loc"])
    if isinstance(reason, ValueError):  # a validator, whose text goes on after "must be"
        return [Issue(keys, f"must be {reason}", show(_value(data, keys)))]
    # A default that depends on a broken field is not to blame.
    if field is None or detail["type"] == "default_factory_not_called":
        return []
    must = f"must be {must_be(field)}"
    if detail["type"] == "missing":
        return [Issue(keys, must, "nothing")]
    got = _value(data, keys)
    return [Issue(keys, must, show(got), nearest(got, options(field)))]


def _unknown_key(model: type[BaseModel], loc: Keys) -> Issue:
    *above, key = map(str, loc)
    section_keys, field = field_at(model, above)
    section = (section_of(field) if field else None) or model
    sibling = nearest(key, keyed(section))
    near = ".".join((*section_keys, sibling)) if sibling else nearest(key, leaves(model))
    must = f"must be one of the keys {', '.join(keyed(section))}"
    if key in leaves(model):
        must = f"must be written as a section, {key.replace('.', ': {', 1)}: ...}}"
    return Issue((*above, key), must, key, near)


def _value(data: Any, keys: Keys) -> Any:
    for key in keys:
        data = data.get(key) if isinstance(data, Mapping) else None
    return data


def _replace(data: Any, keys: Keys, required: Any) -> bool:
    """Drop the innermost part of `data` on the way along `keys`, or add what is required there.

    Returns whether anything changed.
    """
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
