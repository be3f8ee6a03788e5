"""Checks of the schedule that no single field can make: options, grace, rungs, populations."""

from collections.abc import Iterator
from typing import Any

from search_spaces.issues import Issue, nearest, show
from sweeps.spec import plugins
from sweeps.spec.mutable import CHANGEABLE, mutable_fields, why_fixed
from sweeps.spec.sweep import FEWEST, Sweep
from sweeps.spec.validation import issues_of
from workers.measures import needs_captions

_GRACE, _UNPRUNED = ("schedule", "grace"), ("schedule", "unpruned")
_OPTIONS, _SPACE = ("schedule", "options"), ("search", "space")
_FROM_RUNG = ("evaluate", "from_rung")
MIN_POPULATION = 2
"""With fewer trials there is nothing to compare."""


def option_issues(sweep: Sweep) -> Iterator[Issue]:
    """Yield options that the scheduler has not."""
    schedule, scheduler = sweep.schedule, _scheduler(sweep)
    if scheduler is None:
        return
    options = plugins.options(scheduler)
    if schedule.options and not options.model_fields:
        must = f"must be left out: {schedule.name} has none"
        yield Issue(_OPTIONS, must, show(schedule.options))
        return
    for issue in issues_of(options, schedule.options):
        yield issue.below(*_OPTIONS)


def grace_issues(sweep: Sweep) -> Iterator[Issue]:
    """Yield a grace that is longer than the longest trial."""
    longest = max(_epochs(sweep), default=0)
    if _stops(sweep) and 0 < longest < sweep.schedule.grace:
        yield Issue(_GRACE, f"must be at most train.epochs, {longest}", show(sweep.schedule.grace))


def unpruned_issues(sweep: Sweep) -> Iterator[Issue]:
    """Yield a number of unpruned trials that is too low to measure anything, or too high."""
    count, scheduler = sweep.schedule.unpruned, _scheduler(sweep)
    if not count or scheduler is None or not scheduler.STOPS:
        return
    if scheduler.PAUSES:
        must = f"must be 0 for {sweep.schedule.name}, whose trials wait for each other"
        yield Issue(_UNPRUNED, must, show(count))
    elif not FEWEST <= count <= sweep.search.trials:
        most = f"at most search.trials, {sweep.search.trials}"
        yield Issue(_UNPRUNED, f"must be 0, or at least {FEWEST} and {most}", show(count))


def rung_issues(sweep: Sweep) -> Iterator[Issue]:
    """Yield a first rung with captions that comes too late for the trials or the scheduler."""
    first, shortest = sweep.evaluate.from_rung, min(_epochs(sweep), default=0)
    if 0 < shortest < first:
        yield Issue(_FROM_RUNG, f"must be at most train.epochs, {shortest}", show(first))
    elif _stops(sweep):
        yield from _scoreless_issues(sweep, sweep.schedule.grace)


def population_field_issues(sweep: Sweep) -> Iterator[Issue]:
    """Yield fields that cannot change in mid-training, and a space in which none can."""
    if not _is_population(sweep):
        return
    space, named = sweep.search.space, sweep.schedule.options.get("fields")
    for path in named or ():
        if path not in space:
            must = "must name fields of search.space"
            yield Issue((*_OPTIONS, "fields"), must, path, nearest(path, space))
        elif path not in CHANGEABLE:
            must = f"must be one of {', '.join(CHANGEABLE)}: {path} cannot change, "
            yield Issue((*_OPTIONS, "fields"), must + why_fixed(path), path)
    if named is None and not mutable_fields(space, None):
        must = f"must have a field that can change in mid-training: {', '.join(CHANGEABLE)}"
        yield Issue(_SPACE, must, ", ".join(space))
    for path, domain in space.items():
        for parent in set(domain.when) & set(mutable_fields(space, named)):
            must = f"must not depend on {parent}, which changes in mid-training (schedule.options)"
            yield Issue((*_SPACE, path, "when"), must, parent)


def population_rung_issues(sweep: Sweep) -> Iterator[Issue]:
    """Yield what keeps the trials of a population from being compared."""
    if not _is_population(sweep):
        return
    name = sweep.schedule.name
    if "train.epochs" in sweep.search.space:
        must = f"must be a fixed value: trials of {name} are compared at equal rungs"
        yield Issue((*_SPACE, "train.epochs"), must, str(sweep.search.space["train.epochs"]))
        return
    if sweep.search.trials < MIN_POPULATION:
        must = f"must be at least {MIN_POPULATION} for {name}, which compares trials"
        yield Issue(("search", "trials"), must, show(sweep.search.trials))
    options: Any = plugins.options(_scheduler(sweep)).model_validate(sweep.schedule.options)
    interval = options.perturbation_interval
    first = max(sweep.schedule.grace, interval)  # the first rung at which trials are compared
    if first >= sweep.train.epochs:
        at = _GRACE if first > interval else (*_OPTIONS, "perturbation_interval")
        must = f"must be below train.epochs, {sweep.train.epochs}, or no trials are ever compared"
        yield Issue(at, must, show(first))
    else:
        yield from _scoreless_issues(sweep, first)


def _scoreless_issues(sweep: Sweep, compared: int) -> Iterator[Issue]:
    """Yield a grace with which trials are `compared` at a rung that has no captions yet."""
    first = sweep.evaluate.from_rung
    late = [each.metric for each in sweep.search.objectives if needs_captions(each.metric)]
    if late and compared < first:
        must = f"must be at least evaluate.from_rung, {first}: before it there is no {late[0]}"
        yield Issue(_GRACE, must, show(sweep.schedule.grace))


def _scheduler(sweep: Sweep) -> Any:
    """Return the module of the scheduler; None for an unknown one, which is an issue already."""
    name = sweep.schedule.name
    return plugins.scheduler(name) if name in plugins.SCHEDULERS else None


def _stops(sweep: Sweep) -> bool:
    scheduler = _scheduler(sweep)
    return scheduler is not None and bool(scheduler.STOPS)


def _is_population(sweep: Sweep) -> bool:
    """Tell whether the scheduler changes points, with options that it has."""
    scheduler = _scheduler(sweep)
    if scheduler is None or not scheduler.CHANGES:
        return False
    return not issues_of(plugins.options(scheduler), sweep.schedule.options)


def _epochs(sweep: Sweep) -> list[int]:
    swept = sweep.swept("train.epochs", sweep.train.epochs)
    return [value for value in swept if isinstance(value, int)]
