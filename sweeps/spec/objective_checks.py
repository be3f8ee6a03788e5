"""Checks of objectives and constraints: what they name, and who can work with several."""

from collections.abc import Iterator

from search_spaces.issues import Issue, Keys, nearest, show
from sweeps import samplers
from sweeps.spec import plugins
from sweeps.spec.objectives import LOSS, directions
from sweeps.spec.sweep import Sweep
from workers.measures import MEASURES

OBJECTIVE = ("search", "objective")
CONSTRAINTS = ("search", "constraints")
SAMPLER, SCHEDULE = ("search", "sampler", "name"), ("schedule", "name")


def objective_issues(sweep: Sweep) -> Iterator[Issue]:
    """Yield objectives that nobody reports, that stand twice, and a leading one without scores."""
    if _misspelled(sweep):
        return
    names = [objective.metric for objective in sweep.search.objectives]
    judging = [output for output in sweep.outputs() if output in directions()]
    for index, name in enumerate(names):
        at = (*_at(sweep, index), "metric")
        if name in names[:index]:
            yield Issue(at, "must be another one: it stands in the list already", show(name))
        elif index == 0 and name in MEASURES:
            must = "must be a score when it is the first, which decides what rung of a trial counts"
            yield Issue(at, must, show(name))
        elif name in sweep.outputs() and name not in directions():
            must = "must say which caption is better, which more or less of this does not"
            yield Issue(at, must, show(name))
        elif name not in (known := (LOSS, *judging, *(MEASURES if index else ()))):
            scores = f" or an output of evaluate.metrics: {', '.join(judging)}" if judging else ""
            more = f"; or {', '.join(MEASURES)}" if index else ""
            yield Issue(at, f"must be {LOSS}{scores}{more}", show(name), nearest(name, known))


def mode_issues(sweep: Sweep) -> Iterator[Issue]:
    """Yield modes that are not the quantity's own direction."""
    for index, objective in enumerate(sweep.search.objectives):
        right = directions().get(objective.metric, objective.mode)
        if objective.mode != right:
            at = (*_at(sweep, index), "mode")
            yield Issue(at, f"must be {right} for {objective.metric}", objective.mode)


def constraint_issues(sweep: Sweep) -> Iterator[Issue]:
    """Yield limits of quantities that nobody reports."""
    if _misspelled(sweep):
        return
    known = [*MEASURES, LOSS, *sweep.outputs()]
    for constraint in sweep.search.constraints:
        name = constraint.quantity
        if name not in known:
            must = f"must limit one of {', '.join(known)}"
            yield Issue((*CONSTRAINTS, name), must, name, nearest(name, known))


def several_issues(sweep: Sweep) -> Iterator[Issue]:
    """Yield a sampler and a scheduler that cannot work with several objectives."""
    if len(sweep.search.objectives) < 2:
        return
    able = [name for name in plugins.samplers() if samplers.module(name).SEVERAL_OBJECTIVES]
    for at, name, names, may in (
        (SAMPLER, sweep.search.sampler.name, plugins.samplers(), able),
        (
            SCHEDULE,
            sweep.schedule.name,
            plugins.schedulers(),
            plugins.SCHEDULERS_OF_SEVERAL_OBJECTIVES,
        ),
    ):
        if name in names and name not in may:
            yield Issue(at, f"must be one of {', '.join(may)} for several objectives", show(name))


def _at(sweep: Sweep, index: int) -> Keys:
    return (*OBJECTIVE, str(index)) if len(sweep.search.objectives) > 1 else OBJECTIVE


def _misspelled(sweep: Sweep) -> bool:
    """Tell whether a metric is: nobody knows what its outputs would have been."""
    return any(name not in plugins.metrics() for name in sweep.evaluate.metrics)
