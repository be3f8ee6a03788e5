"""Checks of a sweep that no single field can make: plug-ins, swept fields, metrics, rules."""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any

from pydantic import ValidationError

from search_spaces import rules
from search_spaces.domains import Range
from search_spaces.forms import PRESET
from search_spaces.issues import Issue, Keys, SpaceError, nearest, show
from search_spaces.rules import AnyRule, Feasibility, Forbidden, feasible
from sweeps.spec import plugins, schedule_checks, search_checks, starts, storage
from sweeps.spec.search_checks import CONSTRAINTS, OBJECTIVE, SAMPLER, SCHEDULER
from sweeps.spec.sweep import Sweep
from sweeps.spec.validation import leaves, must_be, value_at
from workers.families import REGEX
from workers.host import combinations
from workers.metrics.catalog import METRICS
from workers.recipe import Recipe

NOT_SWEPT = {
    "task": "one sweep is about one task",
    "data": "trials on different images cannot be compared",
    "evaluate": "scores that were taken in different ways cannot be compared",
    "guard": "what a collapse is must be the same for all trials",
}
"""Sections of the recipe that must not be swept, and why."""

FIELDS = leaves(Recipe)
"""The recipe's fields by dotted path."""
_SWEEPABLE = [path for path in FIELDS if path.split(".")[0] not in NOT_SWEPT]

_READERS: Mapping[str, Callable[[Any], tuple[AnyRule, ...]]] = {
    "rules": rules.read_rules,
    "forbidden": rules.read_forbidden,
}
"""Key of ``search`` -> what reads its list."""

_SPACE = ("search", "space")
_METRICS = ("evaluate", "metrics")


def cross_issues(
    sweep: Sweep, values: Mapping[str, Any], known: Collection[Issue]
) -> tuple[Issue, ...]:
    """Return what is wrong between the fields of a sweep.

    `values` is the file as it was read. `known` issues were found already: `sweep` holds
    defaults in their places, so checks that would read one of these are left out.
    """
    found = list(_swept_path_issues(sweep, values))
    for check, reads in CHECKS.items():
        # Keys down to an issue and to a field overlap when one way begins with the other.
        pairs = [zip(issue.keys, keys, strict=False) for issue in known for keys in reads]
        if not any(all(one == other for one, other in pair) for pair in pairs):
            found += check(sweep)
    for key in _READERS:
        found += _rule_issues(sweep, values, key)
    if known or found or not sweep.search.all_rules:
        return tuple(found)
    share = feasibility(sweep)
    if share.allowed:
        return ()
    most, count = max(share.refused.items(), key=lambda item: item[1])
    points = f"all {share.points} points" if share.exact else f"{share.points} points drawn"
    must = f"must allow some point: of {points}, none keeps every rule; most, {count}, "
    at = ("search", "rules" if sweep.search.rules else "forbidden")
    return (Issue(at, f"{must}are refused by {most}"),)


def feasibility(sweep: Sweep) -> Feasibility:
    """Return how much of its space the rules of a sweep allow."""
    all_rules = sweep.search.all_rules
    fixed = sweep.fixed(path for rule in all_rules for path in rule.fields)
    return feasible(sweep.search.space, all_rules, fixed)


def _swept_path_issues(sweep: Sweep, values: Mapping[str, Any]) -> Iterator[Issue]:
    """Check swept paths as they were written, even those whose domains are broken."""
    search = values.get("search")
    written = search.get("space") if isinstance(search, Mapping) else None
    paths: Iterable[str] = written if isinstance(written, Mapping) else sweep.search.space
    if isinstance(written, Mapping) and PRESET in written:  # null takes a field out of a preset
        paths = [path for path in written if path != PRESET and written[path] is not None]
    for path in paths:
        section = path.split(".")[0]
        if section in NOT_SWEPT:
            yield Issue((*_SPACE, path), f"must not be swept: {NOT_SWEPT[section]}")
        elif path not in FIELDS:
            must = "must be swept by the name of a field, such as train.learning_rate"
            yield Issue((*_SPACE, path), must, path, nearest(path, _SWEEPABLE))


def _plugin_issues(sweep: Sweep) -> Iterator[Issue]:
    for keys, names in plugins.NAMES.items():
        yield from _name_issues(keys, (value_at(sweep, ".".join(keys)),), names)


def _swept_value_issues(sweep: Sweep) -> Iterator[Issue]:
    """Check that every value of a domain fits its field, by building recipes from the edges."""
    for path, domain in sweep.search.space.items():
        if path not in _SWEEPABLE:
            continue
        advice = ""
        if isinstance(domain, Range) and not domain.whole and FIELDS[path].annotation is int:
            advice = f" (as int_{domain.kind} draws them)"
        for issue in _value_issues(sweep, path, domain.edges()):
            yield replace(issue, message=issue.message + advice).below(*_SPACE)


def _value_issues(sweep: Sweep, path: str, values: Collection[Any]) -> Iterator[Issue]:
    """Yield which values do not fit a field of the recipe."""
    keys = tuple(path.split("."))
    bad = [value for value in values if not _fits(sweep, path, value)]
    if bad:
        must = f"must have values that fit {path}: {must_be(FIELDS[path])}"
        yield Issue((path,), must, ", ".join(map(show, bad)))
    elif keys in plugins.NAMES:
        yield from _name_issues((path,), values, plugins.NAMES[keys])


def _fits(sweep: Sweep, path: str, value: Any) -> bool:
    try:
        sweep.with_point({path: value})
    except ValidationError as error:
        keys = tuple(path.split("."))
        return not any(detail["loc"][: len(keys)] == keys for detail in error.errors())
    return True


def _name_issues(at: Keys, values: Collection[Any], names: Collection[str]) -> Iterator[Issue]:
    for value in values:
        # A user's own target set is a regular expression; the host checks it on the real model.
        own = at[-1].endswith("targets") and isinstance(value, str) and value.startswith(REGEX)
        if value not in names and not own:
            must = f"must be one of {', '.join(names)}"
            yield Issue(at, must, show(value), nearest(value, names))


def _metric_issues(sweep: Sweep) -> Iterator[Issue]:
    names = sweep.evaluate.metrics
    usable = [name for name, metric in METRICS.items() if sweep.task in metric.tasks]
    must = f"must name metrics of {sweep.task}: {', '.join(usable)}"
    # The default is for captions: one issue says so for a file of another task, not one for each.
    foreign = [name for name in names if name in METRICS and name not in usable]
    if foreign:
        yield Issue(_METRICS, must, ", ".join(map(show, foreign)))
    for index, name in enumerate(names):
        if name not in METRICS:
            yield Issue(_METRICS, must, show(name), nearest(name, usable))
        elif name in names[:index]:
            yield Issue(_METRICS, "must be a list without repeats", show(name))


def _combination_issues(sweep: Sweep) -> Iterator[Issue]:
    """Check fields that do not go together, as written and with each value of a swept field.

    A conflict in a field that is swept itself is left to the trials: another value may be right.
    """
    space = sweep.search.space
    written = combinations.conflicts(sweep.recipe)
    for field, must in written:
        if field not in space:
            yield Issue(tuple(field.split(".")), must, "")
    for path, domain in space.items():
        for value in domain.edges() if path in _SWEEPABLE else ():
            if not _fits(sweep, path, value):
                continue  # another check reports it
            for field, must in combinations.conflicts(sweep.with_point({path: value})):
                if (field, must) not in written and (field == path or field not in space):
                    yield Issue((*_SPACE, path), f"{field} {must}", show(value))


def _rule_issues(sweep: Sweep, values: Mapping[str, Any], key: str) -> Iterator[Issue]:
    """Check each rule as it was written, even beside others that cannot be read."""
    search = values.get("search")
    written = search.get(key) if isinstance(search, Mapping) else None
    fixed = sweep.fixed(FIELDS)
    for index, form in enumerate(written if isinstance(written, list) else ()):
        try:
            (rule,) = _READERS[key]([form])
        except SpaceError:
            continue  # reported when it was read
        issues = list(rules.rule_issues(rule, sweep.search.space, fixed))
        for path, bad in rule.values.items() if isinstance(rule, Forbidden) else ():
            if path in fixed:
                issues += _value_issues(sweep, path, bad)
        yield from (issue.below("search", key, str(index)) for issue in issues)


_EPOCHS = (("train", "epochs"), (*_SPACE, "train.epochs"))
_RUNGS = (*_EPOCHS, ("schedule",), ("evaluate", "from_rung"), (*OBJECTIVE, "metric"))
_TRIALS = ("search", "trials")

CHECKS: Mapping[Callable[[Sweep], Iterator[Issue]], tuple[Keys, ...]] = {
    _plugin_issues: (),
    _swept_value_issues: (),
    search_checks.sampler_issues: (SAMPLER, _SPACE),
    storage.study_issues: (),
    storage.address_issues: (("storage",), ("tracking", "uri")),
    starts.issues: (_SPACE, ("search", "start")),
    search_checks.warm_start_issues: (("search", "warm_start"),),
    _metric_issues: (("task",),),
    search_checks.objective_issues: (_METRICS, OBJECTIVE),
    search_checks.mode_issues: (OBJECTIVE,),
    search_checks.constraint_issues: (_METRICS, CONSTRAINTS),
    search_checks.several_issues: (OBJECTIVE, SCHEDULER, SAMPLER),
    _combination_issues: (*(("task",), ("model",), ("adapter",), ("quantization",), ("prompt",)),),
    schedule_checks.option_issues: (SCHEDULER,),
    schedule_checks.population_field_issues: (SCHEDULER, _SPACE),
    schedule_checks.population_rung_issues: (*_RUNGS, _TRIALS),
    schedule_checks.grace_issues: (*_EPOCHS, ("schedule",)),
    schedule_checks.unpruned_issues: (("schedule",), _TRIALS),
    schedule_checks.rung_issues: _RUNGS,
}
"""Check -> the fields whose defaults would mislead it."""
