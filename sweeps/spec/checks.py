"""Checks of a sweep that no single field can make: names of plug-ins, swept fields, objective."""

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import replace
from typing import Any

from pydantic import ValidationError

from search_spaces.domains import Domain, Range
from search_spaces.forms import PRESET
from search_spaces.issues import Issue, Keys, nearest, show
from sweeps.spec import (
    objective_checks,
    plugins,
    population_checks,
    schedule_checks,
    search_checks,
    starts,
)
from sweeps.spec import storage_checks as results_checks
from sweeps.spec.fields import leaves, must_be
from sweeps.spec.objective_checks import CONSTRAINTS, OBJECTIVE
from sweeps.spec.sweep import Sweep
from workers.families import REGEX
from workers.host import combinations
from workers.recipe import Recipe

SPACE = ("search", "space")
EPOCHS, SPACE_EPOCHS = ("train", "epochs"), (*SPACE, "train.epochs")
SCHEDULE = ("schedule",)
METRICS = ("evaluate", "metrics")
NOT_SWEPT = {
    "task": "one sweep is about one task",
    "data": "trials on different images cannot be compared",
    "evaluate": "scores that were taken in different ways cannot be compared",
    "guard": "what a collapse is must be the same for all trials",
}
"""Sections of the recipe that must not be swept, and why."""


def cross_issues(
    sweep: Sweep, values: Mapping[str, Any], known: Collection[Issue]
) -> Iterator[Issue]:
    """Yield what is wrong between the fields of a sweep.

    `values` is the file as it was read. `known` issues were found already: `sweep` holds
    defaults in their places, so checks that would read one of these are left out.
    """
    yield from _swept_path_issues(sweep, values)
    for check, reads in CHECKS.items():
        if not any(_overlap(issue.keys, keys) for issue in known for keys in reads):
            yield from check(sweep)


def _overlap(one: Keys, other: Keys) -> bool:
    shorter = min(len(one), len(other))
    return one[:shorter] == other[:shorter]


def _sweepable() -> list[str]:
    return [path for path in leaves(Recipe) if path.split(".")[0] not in NOT_SWEPT]


def _swept_path_issues(sweep: Sweep, values: Mapping[str, Any]) -> Iterator[Issue]:
    """Check swept paths as they were written, even those whose domains are broken."""
    search = values.get("search")
    written = search.get("space") if isinstance(search, Mapping) else None
    if isinstance(written, Mapping) and PRESET in written:
        changed = [path for path, domain in written.items() if domain is not None]
        written = dict.fromkeys(path for path in changed if path != PRESET)
    for path in written if isinstance(written, Mapping) else sweep.search.space:
        section = path.split(".")[0]
        if section in NOT_SWEPT:
            yield Issue((*SPACE, path), f"must not be swept: {NOT_SWEPT[section]}")
        elif path not in leaves(Recipe):
            must = "must be swept by the name of a field, such as train.learning_rate"
            yield Issue((*SPACE, path), must, path, nearest(path, _sweepable()))


def _plugin_issues(sweep: Sweep) -> Iterator[Issue]:
    values = sweep.model_dump()
    for keys, names in plugins.NAMES.items():
        value: Any = values
        for key in keys:
            value = value[key]
        yield from _name_issues(keys, (value,), names())


def _swept_value_issues(sweep: Sweep) -> Iterator[Issue]:
    """Check that every value of a domain fits its field, by building recipes from the edges."""
    for path, domain in sweep.search.space.items():
        if path not in _sweepable():
            continue
        for issue in value_issues(sweep, path, domain.edges()):
            message = issue.message + _advice(domain, path)
            yield replace(issue, message=message).below(*SPACE)


def value_issues(sweep: Sweep, path: str, values: Collection[Any]) -> Iterator[Issue]:
    """Yield which values do not fit a field of the recipe."""
    keys = tuple(path.split("."))
    bad = [value for value in values if not _fits(sweep, path, value)]
    if bad:
        must = f"must have values that fit {path}: {must_be(leaves(Recipe)[path])}"
        yield Issue((path,), must, ", ".join(map(show, bad)))
    elif keys in plugins.NAMES:
        yield from _name_issues((path,), values, plugins.NAMES[keys]())


def _fits(sweep: Sweep, path: str, value: Any) -> bool:
    try:
        sweep.with_point({path: value})
    except ValidationError as error:
        keys = tuple(path.split("."))
        return not any(detail["loc"][: len(keys)] == keys for detail in error.errors())
    return True


def _advice(domain: Domain, path: str) -> str:
    if isinstance(domain, Range) and not domain.whole and leaves(Recipe)[path].annotation is int:
        return f" (as int_{domain.kind} draws them)"
    return ""


def _name_issues(at: Keys, values: Collection[Any], names: Collection[str]) -> Iterator[Issue]:
    for value in values:
        if value not in names and not _is_own_regex(at, value):
            yield Issue(
                at, f"must be one of {', '.join(names)}", show(value), nearest(value, names)
            )


def _is_own_regex(at: Keys, value: Any) -> bool:
    """Return whether this is the user's own target set, which the host checks on the real model."""
    return at[-1].endswith("targets") and isinstance(value, str) and value.startswith(REGEX)


def _metric_issues(sweep: Sweep) -> Iterator[Issue]:
    catalog, names = plugins.metrics(), sweep.evaluate.metrics
    usable = [name for name, metric in catalog.items() if sweep.task in metric.tasks]
    must = f"must name metrics of {sweep.task}: {', '.join(usable)}"
    # The default is for captions: a file of another task is told so once, not for each of them.
    foreign = [name for name in names if name in catalog and name not in usable]
    if foreign:
        yield Issue(METRICS, must, ", ".join(map(show, foreign)))
    for index, name in enumerate(names):
        if name not in catalog:
            yield Issue(METRICS, must, show(name), nearest(name, usable))
        elif name in names[:index]:
            yield Issue(METRICS, "must be a list without repeats", show(name))


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
        for value in domain.edges() if path in _sweepable() else ():
            if not _fits(sweep, path, value):
                continue  # another check reports it
            for field, must in combinations.conflicts(sweep.with_point({path: value})):
                if (field, must) not in written and (field == path or field not in space):
                    yield Issue((*SPACE, path), f"{field} {must}", show(value))


CHECKS: Mapping[Callable[[Sweep], Iterator[Issue]], tuple[Keys, ...]] = {
    _plugin_issues: (),
    _swept_value_issues: (),
    search_checks.sampler_issues: (("search", "sampler", "name"), SPACE),
    search_checks.storage_issues: (),
    results_checks.storage_issues: (("storage",), ("tracking", "uri")),
    starts.issues: (SPACE, ("search", "start")),
    search_checks.warm_start_issues: (("search", "warm_start"),),
    _metric_issues: (("task",),),
    objective_checks.objective_issues: (METRICS, OBJECTIVE),
    objective_checks.mode_issues: (OBJECTIVE,),
    objective_checks.constraint_issues: (METRICS, CONSTRAINTS),
    objective_checks.several_issues: (
        OBJECTIVE,
        ("schedule", "name"),
        ("search", "sampler", "name"),
    ),
    _combination_issues: (("task",), ("adapter",), ("quantization",), ("prompt",)),
    schedule_checks.option_issues: (("schedule", "name"),),
    population_checks.field_issues: (("schedule", "name"), SPACE),
    population_checks.rung_issues: (
        EPOCHS,
        SCHEDULE,
        SPACE_EPOCHS,
        ("search", "trials"),
        ("evaluate", "from_rung"),
        (*OBJECTIVE, "metric"),
    ),
    schedule_checks.grace_issues: (EPOCHS, SCHEDULE, SPACE_EPOCHS),
    schedule_checks.unpruned_issues: (SCHEDULE, ("search", "trials")),
    schedule_checks.rung_issues: (
        EPOCHS,
        SCHEDULE,
        SPACE_EPOCHS,
        ("evaluate", "from_rung"),
        (*OBJECTIVE, "metric"),
    ),
}
"""Check -> the fields whose defaults would mislead it."""
