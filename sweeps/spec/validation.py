"""Pydantic's errors as flaws in plain words, and a value in spite of them.

What stands below is independent of what a sweep file holds; any section can be validated.
"""

from collections.abc import Mapping
from copy import deepcopy
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from search_spaces.flaws import Flaw, SpaceError, nearest, show
from sweeps.spec.fields import Keys, field_at, keyed, leaves, must_be, options, section_of

M = TypeVar("M", bound=BaseModel)


def flaws_of(model: type[BaseModel], data: Any) -> tuple[Flaw, ...]:
    """Return all that keeps `data` from being a `model`."""
    try:
        model.model_validate(data)
    except ValidationError as error:
        found = [flaw for detail in error.errors() for flaw in _flaws(model, data, detail)]
        return tuple(dict.fromkeys(found))
    return ()


def mended(model: type[M], data: Any, required: Mapping[str, Any]) -> M | None:
    """Return a `model` of `data` without its broken parts, so that the others can be checked.

    Broken parts get their defaults, those without a default come from `required`. None when
    that does not help.
    """
    data = deepcopy(data)
    while True:
        try:
            return model.model_validate(data)
        except ValidationError as error:
            # One part at a time: with it others may be gone, as rules of one list are.
            if not any(_mend(data, keys, required) for keys in _broken(error)):
                return None


def _flaws(model: type[BaseModel], data: Any, detail: Any) -> list[Flaw]:
    """Return what one of pydantic's errors says."""
    reason = detail.get("ctx", {}).get("error")
    if isinstance(reason, SpaceError):
        return [flaw.below(*detail["loc"]) for flaw in reason.flaws]
    if detail["type"] == "extra_forbidden":
        return [_unknown_key(model, detail["loc"])]
    keys, field = field_at(model, detail["loc"])
    if isinstance(reason, ValueError):  # a validator, whose text goes on after "must be"
        return [Flaw(keys, f"must be {reason}", show(_value(data, keys)))]
    # A default that depends on a broken field is not to blame.
    if field is None or detail["type"] == "default_factory_not_called":
        return []
    must = f"must be {must_be(field)}"
    if detail["type"] == "missing":
        return [Flaw(keys, must, "nothing")]
    got = _value(data, keys)
    return [Flaw(keys, must, show(got), nearest(got, options(field)))]


def _unknown_key(model: type[BaseModel], loc: Keys) -> Flaw:
    *above, key = map(str, loc)
    section_keys, field = field_at(model, above)
    section = (section_of(field) if field else None) or model
    sibling = nearest(key, keyed(section))
    near = ".".join((*section_keys, sibling)) if sibling else nearest(key, leaves(model))
    must = f"must be one of the keys {', '.join(keyed(section))}"
    if key in leaves(model):
        must = f"must be written as a section, {key.replace('.', ': {', 1)}: ...}}"
    return Flaw((*above, key), must, key, near)


def _value(data: Any, keys: Keys) -> Any:
    for key in keys:
        data = data.get(key) if isinstance(data, Mapping) else None
    return data


def _broken(error: ValidationError) -> list[Keys]:
    """Return the places that the errors name."""
    places: list[Keys] = []
    for detail in error.errors():
        reason = detail.get("ctx", {}).get("error")
        below = [flaw.at for flaw in reason.flaws] if isinstance(reason, SpaceError) else [()]
        places += [(*map(str, detail["loc"]), *at) for at in below]
    return places


def _mend(data: Any, keys: Keys, required: Any) -> bool:
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
