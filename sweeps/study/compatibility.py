"""Whether a study that is there belongs to a search: its objective, its direction, its space."""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from search_spaces.domains import Domain, Range
from search_spaces.forms import read_domain
from search_spaces.issues import SpaceError
from sweeps import samplers
from sweeps.spec.sweep import Sweep

if TYPE_CHECKING:
    import optuna

_ANEW = "start a new sweep, with search.warm_start: [{name}] to use what was learned"
_WORDS = {"maximize": "max", "minimize": "min"}


def remember(study: "optuna.Study", sweep: Sweep) -> None:
    """Write into the study what it is a study of."""
    for name, value in _facts(sweep).items():
        if study.user_attrs.get(name) != value:
            study.set_user_attr(name, value)


def refuse_another(study: "optuna.Study", sweep: Sweep, directions: Sequence[str]) -> None:
    """Raise ValueError, naming each difference, for a study that cannot go on as `sweep`."""
    there = [direction.name.lower() for direction in study.directions]
    if there != list(directions):
        raise ValueError(
            f"{study.study_name}: search.objective.mode must stay {_modes(there)}, "
            f"as its study has it, got {_modes(directions)}; " + _ANEW.format(name=study.study_name)
        )
    problems = [*_objective_problems(study, sweep), *_space_problems(study, sweep)]
    if problems:
        lines = "\n".join(f"  {problem}" for problem in problems)
        advice = _ANEW.format(name=study.study_name)
        raise ValueError(f"{study.study_name} cannot go on with another search:\n{lines}\n{advice}")


def widened(study: "optuna.Study", sweep: Sweep) -> list[str]:
    """Return a line for each field whose range is wider than it was in the study."""
    before, now = study.user_attrs.get("space", {}), sweep.search.space
    return [
        f"{path}: {read_domain(form)} before, {now[path]} now"
        for path, form in before.items()
        if form != now[path].form()
    ]


def _facts(sweep: Sweep) -> dict[str, Any]:
    names = ", ".join(objective.metric for objective in sweep.search.objectives)
    limits = ", ".join(f"{each.quantity} {each}" for each in sweep.search.constraints)
    return {"objective": names, "limits": limits, "space": sweep.search.space.form()}


def _objective_problems(study: "optuna.Study", sweep: Sweep) -> Iterator[str]:
    """Yield objectives and limits by which the trials so far were not judged."""
    fields = {"objective": "search.objective.metric", "limits": "search.constraints"}
    facts = _facts(sweep)
    for fact, field in fields.items():
        before, now = study.user_attrs.get(fact), facts[fact]
        if before not in (None, now):
            yield f"{field} must stay {before or 'empty'}, got {now or 'none'}"


def _modes(directions: Sequence[str]) -> str:
    return ", ".join(_WORDS[direction] for direction in directions)


def _space_problems(study: "optuna.Study", sweep: Sweep) -> Iterator[str]:
    """Yield the fields in whose domains points that were drawn are not valid any more."""
    before, now = study.user_attrs.get("space"), sweep.search.space
    if before is None:  # the study of a sweep that drew nothing yet
        return
    for path in before:
        if path not in now:
            yield f"{path} must be swept still: every point that was drawn has a value for it"
    for path, domain in now.items():
        if path not in before:
            yield f"{path} must not be swept: no point that was drawn has a value for it"
        elif before[path] != domain.form():
            yield from _domain_problems(path, before[path], domain, sweep.search.sampler.name)


def _domain_problems(path: str, form: Any, now: Domain, sampler: str) -> Iterator[str]:
    try:
        before = read_domain(form)
    except SpaceError:
        yield f"{path} must stay as it was, {form}, got {now}"
        return
    if not _holds(now, before):
        must = "may become a wider range only" if isinstance(before, Range) else "must stay"
        yield f"{path} {must}: it was {before}, got {now}"
    elif not samplers.module(sampler).TAKES_WIDER_SPACE:
        yield f"{path} must stay {before} with sampler {sampler}, got {now}; tpe takes wider ranges"


def _holds(now: Domain, before: Domain) -> bool:
    """Tell whether every value of a range lies in a later one, for Optuna too."""
    if not (isinstance(before, Range) and type(now) is type(before)) or now.when != before.when:
        return False
    assert isinstance(now, Range)
    same_step = now.step in (before.step, None) or (now.whole and now.step in (None, 1))
    return same_step and all(now.contains(end) for end in before.edges())
