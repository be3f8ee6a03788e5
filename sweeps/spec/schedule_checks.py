"""Checks of the schedule that no single field can make: options, grace, rungs without captions."""

from collections.abc import Iterator

from search_spaces.issues import Issue, show
from sweeps.spec import plugins
from sweeps.spec.sweep import FEWEST, Sweep
from sweeps.spec.validation import issues_of
from workers.measures import needs_captions

_GRACE, _UNPRUNED = ("schedule", "grace"), ("schedule", "unpruned")
_FROM_RUNG = ("evaluate", "from_rung")


def option_issues(sweep: Sweep) -> Iterator[Issue]:
    """Yield options that the scheduler has not."""
    schedule = sweep.schedule
    if schedule.name not in plugins.schedulers():
        return
    takes = plugins.scheduler_options(schedule.name)
    if schedule.options and not takes.model_fields:
        must = f"must be left out: {schedule.name} has none"
        yield Issue(("schedule", "options"), must, show(schedule.options))
        return
    for issue in issues_of(takes, schedule.options):
        yield issue.below("schedule", "options")


def grace_issues(sweep: Sweep) -> Iterator[Issue]:
    """Yield a grace that is longer than the longest trial."""
    longest = max(_epochs(sweep), default=0)
    if _stops(sweep) and 0 < longest < sweep.schedule.grace:
        yield Issue(_GRACE, f"must be at most train.epochs, {longest}", show(sweep.schedule.grace))


def unpruned_issues(sweep: Sweep) -> Iterator[Issue]:
    """Yield a number of unpruned trials that could not say anything, or that never end."""
    count = sweep.schedule.unpruned
    if not count or not _stops(sweep):
        return
    if plugins.scheduler(sweep.schedule.name).PAUSES:
        must = f"must be 0 for {sweep.schedule.name}, whose trials wait for each other"
        yield Issue(_UNPRUNED, must, show(count))
    elif not FEWEST <= count <= sweep.search.trials:
        must = f"must be 0, or at least {FEWEST} and at most search.trials, {sweep.search.trials}"
        yield Issue(_UNPRUNED, must, show(count))


def rung_issues(sweep: Sweep) -> Iterator[Issue]:
    """Yield a first rung with captions that comes too late for the trials or the scheduler."""
    first, shortest = sweep.evaluate.from_rung, min(_epochs(sweep), default=0)
    late = [each.metric for each in sweep.search.objectives if needs_captions(each.metric)]
    grace = sweep.schedule.grace
    if 0 < shortest < first:
        yield Issue(_FROM_RUNG, f"must be at most train.epochs, {shortest}", show(first))
    elif _stops(sweep) and late and grace < first:
        must = f"must be at least evaluate.from_rung, {first}: before it there is no {late[0]}"
        yield Issue(_GRACE, must, show(grace))


def _stops(sweep: Sweep) -> bool:
    name = sweep.schedule.name
    return name in plugins.schedulers() and bool(plugins.scheduler(name).STOPS)


def _epochs(sweep: Sweep) -> list[int]:
    swept = sweep.swept("train.epochs", sweep.train.epochs)
    return [value for value in swept if isinstance(value, int)]
