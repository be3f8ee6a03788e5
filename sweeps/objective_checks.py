"""Checks of objectives and constraints: what they name, and who can work with several."""

from collections.abc import Iterator

from search_spaces.flaws import Flaw, nearest, show
from sweeps import plugins, samplers, schedulers
from sweeps.objectives import LOSS, directions
from sweeps.resources import Layout
from sweeps.sweep import Sweep
from workers.measures import MEASURES

OBJECTIVE = ("search", "objective")
CONSTRAINTS = ("search", "constraints")
SAMPLER, SCHEDULE = ("search", "sampler", "name"), ("schedule", "name")


def objective_flaws(sweep: Sweep) -> Iterator[Flaw]:
    """Yield objectives that nobody reports, that stand twice, and a leading one without scores."""
    scores = _scores(sweep)
    if scores is None:
        return
    names = [objective.metric for objective in sweep.search.objectives]
    describing = _describing(sweep)
    judging = [name for name in scores if name not in describing]
    for index, name in enumerate(names):
        at = (*_at(sweep, index), "metric")
        if name in names[:index]:
            yield Flaw(at, "must be another one: it stands in the list already", show(name))
        elif index == 0 and name in MEASURES:
            must = "must be a score when it is the first, which decides what rung of a trial counts"
            yield Flaw(at, must, show(name))
        elif name in describing:
            must = "must say which caption is better, which more or less of this does not"
            yield Flaw(at, must, show(name))
        elif name not in scores and (index == 0 or name not in MEASURES):
            outputs = ", ".join(judging[1:])
            scored = f" or an output of evaluate.metrics: {outputs}" if outputs else ""
            must = f"must be {LOSS}{scored}"
            more = f"; or {', '.join(MEASURES)}" if index else ""
            yield Flaw(at, must + more, show(name), nearest(name, [*judging, *MEASURES]))


def mode_flaws(sweep: Sweep) -> Iterator[Flaw]:
    """Yield modes that are not the quantity's own direction."""
    for index, objective in enumerate(sweep.search.objectives):
        right = directions().get(objective.metric, objective.mode)
        if objective.mode != right:
            at = (*_at(sweep, index), "mode")
            yield Flaw(at, f"must be {right} for {objective.metric}", objective.mode)


def constraint_flaws(sweep: Sweep) -> Iterator[Flaw]:
    """Yield limits of quantities that nobody reports."""
    scores = _scores(sweep)
    for constraint in sweep.search.constraints if scores else ():
        name, known = constraint.quantity, [*MEASURES, *(scores or ())]
        if name not in known:
            must = f"must limit one of {', '.join(known)}"
            yield Flaw((*CONSTRAINTS, name), must, name, nearest(name, known))


def several_flaws(sweep: Sweep) -> Iterator[Flaw]:
    """Yield a sampler and a scheduler that cannot work with several objectives."""
    if len(sweep.search.objectives) < 2:
        return
    able = [name for name in plugins.samplers() if samplers.module(name).SEVERAL_OBJECTIVES]
    for at, name, names, may in (
        (SAMPLER, sweep.search.sampler.name, plugins.samplers(), able),
        (SCHEDULE, sweep.schedule.name, plugins.schedulers(), schedulers.SEVERAL),
    ):
        if name in names and name not in may:
            yield Flaw(at, f"must be one of {', '.join(may)} for several objectives", show(name))


def refuse_unmeasured(sweep: Sweep, plan: Layout) -> None:
    """Raise ValueError for an objective or a limit of what these hosts do not measure."""
    if plan.gpus_per_host:
        return
    for name in sweep.search.quantities:
        if name in MEASURES and MEASURES[name].gpu:
            at = CONSTRAINTS if name in sweep.search.limited else OBJECTIVE
            raise ValueError(
                f"{'.'.join(at)}: {name} is measured on GPUs only, and the hosts have none; "
                "take it out, or run the sweep on GPUs"
            )


def _at(sweep: Sweep, index: int) -> tuple[str, ...]:
    return (*OBJECTIVE, str(index)) if len(sweep.search.objectives) > 1 else OBJECTIVE


def _scores(sweep: Sweep) -> list[str] | None:
    """Return what trials are scored by; None where a metric is misspelled: nobody knows then."""
    catalog = plugins.metrics()
    if any(name not in catalog for name in sweep.evaluate.metrics):
        return None
    return [LOSS, *sweep.outputs()]


def _describing(sweep: Sweep) -> set[str]:
    """Return outputs of metrics of which neither more nor less is better."""
    chosen = [plugins.metrics()[name] for name in sweep.evaluate.metrics]
    return {output for metric in chosen if not metric.direction for output in metric.outputs}
