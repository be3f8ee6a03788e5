"""Checks of a sweep that no single field can make: names of plug-ins, swept fields, objective."""

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import replace
from typing import Any

from pydantic import ValidationError

from search_spaces.domains import Domain, Range
from search_spaces.flaws import Flaw, nearest, show
from search_spaces.forms import PRESET
from sweeps.spec import objective_checks, plugins, population_checks, schedule_checks, search_checks
from sweeps.spec import storage_checks as results_checks
from sweeps.spec.fields import Keys, leaves, must_be
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


def cross_flaws(sweep: Sweep, values: Mapping[str, Any], known: Collection[Flaw]) -> Iterator[Flaw]:
    """Yield what is wrong between the fields of a sweep.

    `values` is the file as it was read. `known` flaws were found already: `sweep` holds
    defaults in their places, so checks that would read one of these are left out.
    """
    yield from _swept_path_flaws(sweep, values)
    for check, reads in CHECKS.items():
        if not any(_overlap(flaw.at, keys) for flaw in known for keys in reads):
            yield from check(sweep)


def _overlap(one: Keys, other: Keys) -> bool:
    shorter = min(len(one), len(other))
    return one[:shorter] == other[:shorter]


def _sweepable() -> list[str]:
    return [path for path in leaves(Recipe) if path.split(".")[0] not in NOT_SWEPT]


def _swept_path_flaws(sweep: Sweep, values: Mapping[str, Any]) -> Iterator[Flaw]:
    """Check swept paths as they were written, even those whose domains are broken."""
    search = values.get("search")
    written = search.get("space") if isinstance(search, Mapping) else None
    if isinstance(written, Mapping) and PRESET in written:
        changed = [path for path, domain in written.items() if domain is not None]
        written = dict.fromkeys(path for path in changed if path != PRESET)
    for path in written if isinstance(written, Mapping) else sweep.search.space:
        section = path.split(".")[0]
        if section in NOT_SWEPT:
            yield Flaw((*SPACE, path), f"must not be swept: {NOT_SWEPT[section]}")
        elif path not in leaves(Recipe):
            must = "must be swept by the name of a field, such as train.learning_rate"
            yield Flaw((*SPACE, path), must, path, nearest(path, _sweepable()))


def _plugin_flaws(sweep: Sweep) -> Iterator[Flaw]:
    values = sweep.model_dump()
    for keys, names in plugins.NAMES.items():
        value: Any = values
        for key in keys:
            value = value[key]
        yield from _name_flaws(keys, (value,), names())


def _swept_value_flaws(sweep: Sweep) -> Iterator[Flaw]:
    """Check that every value of a domain fits its field, by building recipes from the edges."""
    for path, domain in sweep.search.space.items():
        if path not in _sweepable():
            continue
        for flaw in value_flaws(sweep, path, domain.edges()):
            yield replace(flaw, must=flaw.must + _advice(domain, path)).below(*SPACE)


def value_flaws(sweep: Sweep, path: str, values: Collection[Any]) -> Iterator[Flaw]:
    """Yield which values do not fit a field of the recipe."""
    keys = tuple(path.split("."))
    bad = [value for value in values if not _fits(sweep, path, value)]
    if bad:
        must = f"must have values that fit {path}: {must_be(leaves(Recipe)[path])}"
        yield Flaw((path,), must, ", ".join(map(show, bad)))
    elif keys in plugins.NAMES:
        yield from _name_flaws((path,), values, plugins.NAMES[keys]())


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


def _name_flaws(at: Keys, values: Collection[Any], names: Collection[str]) -> Iterator[Flaw]:
    for value in values:
        if value not in names and not _is_own_regex(at, value):
            yield Flaw(at, f"must be one of {', '.join(names)}", show(value), nearest(value, names))


def _is_own_regex(at: Keys, value: Any) -> bool:
    """Tell whether this is the user's own target set, which the host checks on the real model."""
    return at[-1].endswith("targets") and isinstance(value, str) and value.startswith(REGEX)


def _metric_flaws(sweep: Sweep) -> Iterator[Flaw]:
    catalog, names = plugins.metrics(), sweep.evaluate.metrics
    usable = [name for name, metric in catalog.items() if sweep.task in metric.tasks]
    must = f"must name metrics of {sweep.task}: {', '.join(usable)}"
    # The default is for captions: a file of another task is told so once, not for each of them.
    foreign = [name for name in names if name in catalog and name not in usable]
    if foreign:
        yield Flaw(METRICS, must, ", ".join(map(show, foreign)))
    for index, name in enumerate(names):
        if name not in catalog:
            yield Flaw(METRICS, must, show(name), nearest(name, usable))
        elif name in names[:index]:
            yield Flaw(METRICS, "must be a list without repeats", show(name))


def _combination_flaws(sweep: Sweep) -> Iterator[Flaw]:
    """Check fields that do not go together, as written and with each value of a swept field.

    A flaw in a field that is swept itself is left to the trials: another value may mend it.
    """
    space = sweep.search.space
    written = combinations.flaws(sweep.recipe)
    for field, must in written:
        if field not in space:
            yield Flaw(tuple(field.split(".")), must, "")
    for path, domain in space.items():
        for value in domain.edges() if path in _sweepable() else ():
            if not _fits(sweep, path, value):
                continue  # said by another check
            for field, must in combinations.flaws(sweep.with_point({path: value})):
                if (field, must) not in written and (field == path or field not in space):
                    yield Flaw((*SPACE, path), f"{field} {must}", show(value))


CHECKS: Mapping[Callable[[Sweep], Iterator[Flaw]], tuple[Keys, ...]] = {
    _plugin_flaws: (),
    _swept_value_flaws: (),
    search_checks.sampler_flaws: (("search", "sampler", "name"), SPACE),
    search_checks.storage_flaws: (),
    results_checks.storage_flaws: (("storage",), ("tracking", "uri")),
    search_checks.start_flaws: (SPACE, ("search", "start")),
    search_checks.warm_start_flaws: (("search", "warm_start"),),
    _metric_flaws: (("task",),),
    objective_checks.objective_flaws: (METRICS, OBJECTIVE),
    objective_checks.mode_flaws: (OBJECTIVE,),
    objective_checks.constraint_flaws: (METRICS, CONSTRAINTS),
    objective_checks.several_flaws: (
        OBJECTIVE,
        ("schedule", "name"),
        ("search", "sampler", "name"),
    ),
    _combination_flaws: (("task",), ("adapter",), ("quantization",), ("prompt",)),
    schedule_checks.option_flaws: (("schedule", "name"),),
    population_checks.field_flaws: (("schedule", "name"), SPACE),
    population_checks.rung_flaws: (
        EPOCHS,
        SCHEDULE,
        SPACE_EPOCHS,
        ("search", "trials"),
        ("evaluate", "from_rung"),
        (*OBJECTIVE, "metric"),
    ),
    schedule_checks.grace_flaws: (EPOCHS, SCHEDULE, SPACE_EPOCHS),
    schedule_checks.unpruned_flaws: (SCHEDULE, ("search", "trials")),
    schedule_checks.rung_flaws: (
        EPOCHS,
        SCHEDULE,
        SPACE_EPOCHS,
        ("evaluate", "from_rung"),
        (*OBJECTIVE, "metric"),
    ),
}
"""Check -> the fields whose defaults would mislead it."""
