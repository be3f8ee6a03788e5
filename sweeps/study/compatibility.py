"""Checks that a stored study belongs to a search: its objectives, their directions, its space."""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from search_spaces.domains import Domain, Range
from search_spaces.forms import read_domain
from search_spaces.issues import SpaceError
from sweeps import samplers
from sweeps.spec.sweep import Sweep

if TYPE_CHECKING:
    import optuna


def check_search(study: "optuna.Study", sweep: Sweep, directions: Sequence[str]) -> None:
    """Raise ValueError, naming each difference, for a study that cannot continue as `sweep`."""
    name = study.study_name
    advice = f"start a new sweep, with search.warm_start: [{name}] to use what was learned"
    stored = [direction.name.lower() for direction in study.directions]
    if stored != list(directions):
        before, now = (", ".join(one[:3] for one in modes) for modes in (stored, directions))
        what = f"search.objective.mode must stay {before}, as its study has it, got {now}"
        raise ValueError(f"{name}: {what}; {advice}")
    problems = [*_objective_problems(study, sweep), *_space_problems(study, sweep)]
    if problems:
        lines = "\n".join(f"  {problem}" for problem in problems)
        raise ValueError(f"{name} cannot continue with another search:\n{lines}\n{advice}")


def store_search(study: "optuna.Study", sweep: Sweep) -> list[str]:
    """Store the search in the study; return a line for each range that is wider than before."""
    before, now = study.user_attrs.get("space", {}), sweep.search.space
    for name, value in _search(sweep).items():
        if study.user_attrs.get(name) != value:
            study.set_user_attr(name, value)
    wider = [path for path, form in before.items() if form != now[path].form()]
    return [f"{path}: {read_domain(before[path])} before, {now[path]} now" for path in wider]


def _search(sweep: Sweep) -> dict[str, Any]:
    names = ", ".join(objective.metric for objective in sweep.search.objectives)
    limits = ", ".join(f"{each.quantity} {each}" for each in sweep.search.constraints)
    return {"objective": names, "limits": limits, "space": sweep.search.space.form()}


def _objective_problems(study: "optuna.Study", sweep: Sweep) -> Iterator[str]:
    """Yield objectives and limits that differ from those that ranked the trials so far."""
    search = _search(sweep)
    fields = {"objective": "search.objective.metric", "limits": "search.constraints"}
    for name, field in fields.items():
        before, now = study.user_attrs.get(name), search[name]
        if before not in (None, now):
            yield f"{field} must stay {before or 'empty'}, got {now or 'none'}"


def _space_problems(study: "optuna.Study", sweep: Sweep) -> Iterator[str]:
    """Yield the fields whose domains no longer contain the points sampled so far."""
    before, now = study.user_attrs.get("space"), sweep.search.space
    if before is None:  # no point has been sampled yet
        return
    for path in before:
        if path not in now:
            yield f"{path} must still be swept: every sampled point has a value for it"
    for path, domain in now.items():
        if path not in before:
            yield f"{path} must not be swept: no sampled point has a value for it"
        elif before[path] != domain.form():
            yield from _domain_problems(path, before[path], domain, sweep.search.sampler.name)


def _domain_problems(path: str, form: Any, now: Domain, sampler: str) -> Iterator[str]:
    try:
        before = read_domain(form)
    except SpaceError:
        yield f"{path} must stay as it was, {form}, got {now}"
        return
    if not _contains(now, before):
        must = "may become a wider range only" if isinstance(before, Range) else "must stay"
        yield f"{path} {must}: it was {before}, got {now}"
    elif not samplers.module(sampler).TAKES_WIDER_SPACE:
        yield f"{path} must stay {before} with sampler {sampler}, got {now}; tpe takes wider ranges"


def _contains(now: Domain, before: Domain) -> bool:
    """Tell whether a range contains every value of an earlier one, for Optuna too."""
    if not (isinstance(before, Range) and type(now) is type(before)) or now.when != before.when:
        return False
    assert isinstance(now, Range)
    same_step = now.step in (before.step, None) or (now.whole and now.step in (None, 1))
    return same_step and all(now.contains(end) for end in before.edges())
