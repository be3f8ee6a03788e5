"""Checks of the search: sampler, earlier sweeps, objectives and limits on what is measured."""

from collections.abc import Iterator

from search_spaces.issues import Issue, Keys, nearest, show
from sweeps import samplers
from sweeps.names import is_component
from sweeps.spec import plugins
from sweeps.spec.objectives import DIRECTIONS, LOSS
from sweeps.spec.sweep import Sweep
from sweeps.spec.validation import issues_of
from workers.measures import MEASURES
from workers.metrics.catalog import METRICS

OBJECTIVE = ("search", "objective")
CONSTRAINTS = ("search", "constraints")
SAMPLER, SCHEDULER = ("search", "sampler", "name"), ("schedule", "name")


def sampler_issues(sweep: Sweep) -> Iterator[Issue]:
    """Yield options that the sampler has not, and domains that it cannot sample."""
    sampler = sweep.search.sampler
    if sampler.name not in samplers.NAMES:
        return
    for issue in issues_of(plugins.options(samplers.module(sampler.name)), sampler.options):
        yield issue.below("search", "sampler", "options")
    for issue in samplers.issues(sampler.name, sweep.search.space):
        yield issue.below("search", "space")


def warm_start_issues(sweep: Sweep) -> Iterator[Issue]:
    """Yield earlier sweeps that are named twice, and paths."""
    earlier = sweep.search.warm_start
    for index, name in enumerate(earlier):
        at = ("search", "warm_start", str(index))
        if not is_component(name):
            yield Issue(at, "must be the name of an earlier sweep, not a path", show(name))
        if name in earlier[:index]:
            yield Issue(at, "must be a list without repeats", show(name))


def objective_issues(sweep: Sweep) -> Iterator[Issue]:
    """Yield unknown objectives, repeated ones, and a leading one that is no score."""
    if _has_unknown_metric(sweep):
        return
    names = [objective.metric for objective in sweep.search.objectives]
    outputs = sweep.outputs()
    judging = [output for output in outputs if output in DIRECTIONS]
    for index, name in enumerate(names):
        at = (*_at(sweep, index), "metric")
        known = (LOSS, *judging, *(MEASURES if index else ()))
        if name in names[:index]:
            yield Issue(at, "must be another one: it stands in the list already", show(name))
        elif index == 0 and name in MEASURES:
            must = "must be a score when it is the first, which decides what rung of a trial counts"
            yield Issue(at, must, show(name))
        elif name in outputs and name not in DIRECTIONS:
            must = "must say which caption is better, which more or less of this does not"
            yield Issue(at, must, show(name))
        elif name not in known:
            others = f" or an output of evaluate.metrics: {', '.join(judging)}" if judging else ""
            more = f"; or {', '.join(MEASURES)}" if index else ""
            yield Issue(at, f"must be {LOSS}{others}{more}", show(name), nearest(name, known))


def mode_issues(sweep: Sweep) -> Iterator[Issue]:
    """Yield modes that are not the quantity's own direction."""
    for index, objective in enumerate(sweep.search.objectives):
        right = DIRECTIONS.get(objective.metric, objective.mode)
        if objective.mode != right:
            at = (*_at(sweep, index), "mode")
            yield Issue(at, f"must be {right} for {objective.metric}", objective.mode)


def constraint_issues(sweep: Sweep) -> Iterator[Issue]:
    """Yield limits of unknown quantities."""
    if _has_unknown_metric(sweep):
        return
    known = [*MEASURES, LOSS, *sweep.outputs()]
    for name in sweep.search.limited:
        if name not in known:
            must = f"must limit one of {', '.join(known)}"
            yield Issue((*CONSTRAINTS, name), must, name, nearest(name, known))


def several_issues(sweep: Sweep) -> Iterator[Issue]:
    """Yield a sampler and a scheduler that cannot work with several objectives."""
    if len(sweep.search.objectives) < 2:
        return
    able = [name for name in samplers.NAMES if samplers.module(name).SEVERAL_OBJECTIVES]
    for at, name, names in (
        (SAMPLER, sweep.search.sampler.name, able),
        (SCHEDULER, sweep.schedule.name, plugins.SCHEDULERS_OF_SEVERAL_OBJECTIVES),
    ):
        if name in plugins.NAMES[at] and name not in names:
            yield Issue(at, f"must be one of {', '.join(names)} for several objectives", show(name))


def _at(sweep: Sweep, index: int) -> Keys:
    return (*OBJECTIVE, str(index)) if len(sweep.search.objectives) > 1 else OBJECTIVE


def _has_unknown_metric(sweep: Sweep) -> bool:
    """Tell whether a metric is misspelled: its outputs are unknown."""
    return any(name not in METRICS for name in sweep.evaluate.metrics)
