"""Reader of spaces as they are written in a sweep file.

A space is the name of a preset or a mapping from dotted paths to domains::

    adapter.rank: {choice: [4, 8, 16]}
    train.learning_rate: {log_uniform: [1e-5, 1e-3]}
    adapter.dropout: {uniform: [0.0, 0.2], step: 0.05, when: {quantization: [nf4, int8]}}

or both, a preset with fields added, replaced, or removed by null::

    preset: lora
    adapter.rank: null
    adapter.dropout: {choice: [0.0, 0.1]}
"""

from collections.abc import Iterator, Mapping
from typing import Any

from search_spaces.domains import KINDS, RANGES, Choice, Domain
from search_spaces.issues import Issue, SpaceError, nearest, raise_any, show
from search_spaces.presets import PRESETS, Preset
from search_spaces.space import Space, condition_issues
from search_spaces.values import is_value, listed

EXTRAS = ("step", "when")
PRESET = "preset"
"""Key of a space's form beside which fields change the preset that it names."""


def read_space(form: Any) -> Space:
    """Return the space that `form` describes; raises `SpaceError` with all its issues."""
    if isinstance(form, Space):
        return form
    if isinstance(form, str) and form in PRESETS:
        return PRESETS[form]().space
    if not isinstance(form, Mapping):
        must = f"must be a preset ({', '.join(PRESETS)}) or a mapping from fields to domains"
        raise SpaceError(Issue((), must, show(form), nearest(form, PRESETS)))
    if PRESET in form:
        preset = preset_of(form)
        if preset is None:
            must, name = f"must be one of {', '.join(PRESETS)}", form[PRESET]
            raise SpaceError(Issue((PRESET,), must, show(name), nearest(name, PRESETS)))
        changes = {path: domain for path, domain in form.items() if path != PRESET}
        own = preset.space.form()
        strangers = [path for path in changes if changes[path] is None and path not in own]
        if strangers:
            must = f"must be a field of the preset to be removed: {', '.join(own)}"
            near = (Issue((path,), must, path, nearest(path, own)) for path in strangers)
            raise SpaceError(*near)
        form = {path: domain for path, domain in (own | changes).items() if domain is not None}
    domains, issues = {}, []
    for path, domain in form.items():
        try:
            domains[path] = read_domain(domain)
        except SpaceError as error:
            issues += [issue.below(path) for issue in error.issues]
    if issues:
        unread = [path for path in form if path not in domains]
        raise SpaceError(*issues, *condition_issues(domains, unread))
    return Space(domains)


def preset_of(form: Any) -> Preset | None:
    """Return the preset that `form` names, alone or beside changes to it; None without one."""
    name = form.get(PRESET) if isinstance(form, Mapping) else form
    return PRESETS[name]() if isinstance(name, str) and name in PRESETS else None


def read_domain(form: Any) -> Domain:
    """Return the domain that `form` describes; raises `SpaceError` with all its issues."""
    if not isinstance(form, Mapping):
        raise SpaceError(Issue((), "must be a domain such as {choice: [4, 8]}", show(form)))
    kinds = [key for key in form if key in KINDS]
    if len(kinds) != 1:
        others = [key for key in form if key not in EXTRAS]
        guesses = [name for name in (nearest(key, KINDS) for key in others) if name]
        must = f"must have exactly one of {', '.join(KINDS)}"
        actual = ", ".join(map(str, others)) or "none of them"
        raise SpaceError(Issue((), must, actual, guesses[0] if guesses and not kinds else None))
    kind = str(kinds[0])
    issues = list(_extra_issues(kind, form))
    try:
        domain = _build(kind, form)
    except SpaceError as error:
        raise SpaceError(*error.issues, *issues) from None
    raise_any(issues)
    return domain


def _extra_issues(kind: str, form: Mapping[str, Any]) -> Iterator[Issue]:
    """Yield what is wrong beside the values or the ends of a domain."""
    extras = ("when",) if kind == Choice.kind else EXTRAS
    for key in form:
        if key not in (kind, *extras):
            must = f"must be left out: beside {kind} there can be {' and '.join(extras)}"
            yield Issue((key,), must, show(form[key]), nearest(key, extras))
    when = form.get("when", {})
    if not isinstance(when, Mapping):
        must = "must be a mapping from swept paths to values, such as {quantization: nf4}"
        yield Issue(("when",), must, show(when))
        return
    for path, allowed in when.items():
        if not all(map(is_value, listed(allowed))):
            must = "must be a value or a list of values"
            yield Issue(("when", path), must, show(allowed))


def _build(kind: str, form: Mapping[str, Any]) -> Domain:
    given, when = form[kind], form.get("when")
    allowed = when.items() if isinstance(when, Mapping) else ()
    conditions = {path: listed(values) for path, values in allowed}
    if kind == Choice.kind:
        values = tuple(given) if isinstance(given, list) else given
        return Choice(values, when=conditions)
    if not isinstance(given, list) or len(given) != 2:
        must = "must be a list of two numbers, the low and the high end"
        raise SpaceError(Issue((kind,), must, show(given)))
    low, high = given
    return RANGES[kind](low, high, form.get("step"), when=conditions)
