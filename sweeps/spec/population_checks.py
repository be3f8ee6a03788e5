"""Checks of a sweep whose trials form a population: what may change, and when."""

from collections.abc import Iterator

from search_spaces.issues import Issue, nearest, show
from sweeps.spec import plugins
from sweeps.spec.mutable import CHANGEABLE, fields_of, first_comparison, reason
from sweeps.spec.sweep import Sweep
from sweeps.spec.validation import issues_of
from workers.measures import needs_captions

_OPTIONS, _SPACE = ("schedule", "options"), ("search", "space")
FEWEST = 2
"""Trials below which nobody is compared with anybody."""


def field_issues(sweep: Sweep) -> Iterator[Issue]:
    """Yield fields that cannot change in mid-training, and a space in which none can."""
    if not _is_population(sweep):
        return
    space, named = sweep.search.space, sweep.schedule.options.get("fields")
    for path in named or ():
        if path not in space:
            must = "must name fields of search.space"
            yield Issue((*_OPTIONS, "fields"), must, path, nearest(path, space))
        elif path not in CHANGEABLE:
            must = f"must be one of {', '.join(CHANGEABLE)}: {path} cannot change, {reason(path)}"
            yield Issue((*_OPTIONS, "fields"), must, path)
    if named is None and not fields_of(space, None):
        must = f"must have a field that can change in mid-training: {', '.join(CHANGEABLE)}"
        yield Issue(_SPACE, must, ", ".join(space))
    for path, domain in space.items():
        for parent in set(domain.when) & set(fields_of(space, named)):
            must = f"must not depend on {parent}, which changes in mid-training (schedule.options)"
            yield Issue((*_SPACE, path, "when"), must, parent)


def rung_issues(sweep: Sweep) -> Iterator[Issue]:
    """Yield what keeps a population from being compared."""
    if not _is_population(sweep):
        return
    if "train.epochs" in sweep.search.space:
        must = f"must be a fixed value: trials of {sweep.schedule.name} are compared at equal rungs"
        yield Issue((*_SPACE, "train.epochs"), must, str(sweep.search.space["train.epochs"]))
        return
    if sweep.search.trials < FEWEST:
        must = f"must be at least {FEWEST} for {sweep.schedule.name}, which compares trials"
        yield Issue(("search", "trials"), must, show(sweep.search.trials))
    taken = plugins.scheduler_options(sweep.schedule.name).model_validate(sweep.schedule.options)
    interval: int = taken.perturbation_interval  # type: ignore[attr-defined]
    first = first_comparison(sweep.schedule.grace, interval)
    late = [each.metric for each in sweep.search.objectives if needs_captions(each.metric)]
    if first >= sweep.train.epochs:
        at = ("schedule", "grace") if first > interval else (*_OPTIONS, "perturbation_interval")
        must = f"must be below train.epochs, {sweep.train.epochs}, or nobody is ever compared"
        yield Issue(at, must, show(first))
    elif late and first < sweep.evaluate.from_rung:
        must = f"must be at least evaluate.from_rung, {sweep.evaluate.from_rung}: before it there "
        yield Issue(("schedule", "grace"), f"{must}is no {late[0]}", show(sweep.schedule.grace))


def _is_population(sweep: Sweep) -> bool:
    """Tell whether the scheduler changes points, with options that it has."""
    name = sweep.schedule.name
    if name not in plugins.schedulers() or not plugins.scheduler(name).CHANGES:
        return False
    return not issues_of(plugins.scheduler_options(name), sweep.schedule.options)
