"""Rules between fields: which points of a space are allowed.

A rule is a condition such as ``adapter.alpha <= 4 * adapter.rank``, or a forbidden combination
such as ``{quantization: int8, adapter.variant: dora}``. Where a field that it names has no value,
because a condition of its domain does not hold, the rule holds.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from search_spaces.domains import Domain, When, when_form
from search_spaces.expressions import Expression, evaluate, fields_of, kind_issues, kinds_of
from search_spaces.issues import Issue, SpaceError, nearest, raise_any, show
from search_spaces.parsing import parse
from search_spaces.space import Space, unreachable
from search_spaces.values import Value, is_value, listed, plain, same


@dataclass(frozen=True)
class Rule:
    """A condition that every point keeps; raises `SpaceError` for a text that is none."""

    text: str
    condition: Expression = field(init=False, compare=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "condition", parse(self.text))

    @property
    def fields(self) -> tuple[str, ...]:
        """The fields that it names."""
        return fields_of(self.condition)

    def holds(self, values: Mapping[str, Any]) -> bool:
        """Return whether it holds where fields have these values.

        It is broken only by what is known to be false: ``train.patience < 3`` holds for null.
        """
        if any(path not in values for path in self.fields):
            return True
        return evaluate(self.condition, values) is not False

    def __str__(self) -> str:
        return self.text


@dataclass(frozen=True)
class Forbidden:
    """Values that must not come together."""

    values: When = field(hash=False)
    """Field -> its values, each of which is forbidden beside those of the other fields."""

    @property
    def fields(self) -> tuple[str, ...]:
        """The fields that it names."""
        return tuple(self.values)

    def holds(self, values: Mapping[str, Any]) -> bool:
        """Return whether it holds where fields have these values."""
        return not all(
            path in values and any(same(values[path], each) for each in bad)
            for path, bad in self.values.items()
        )

    def form(self) -> dict[str, Any]:
        """Return it as it is written in a sweep file."""
        return when_form(self.values)

    def __str__(self) -> str:
        bad = (f"{path} {' or '.join(map(plain, each))}" for path, each in self.values.items())
        return f"forbidden: {', '.join(bad)}"


AnyRule = Rule | Forbidden
T = TypeVar("T")

ENUMERATED = 5000
"""Up to so many points all are looked at; of larger spaces some are sampled."""


def broken(
    rules: Iterable[AnyRule], point: Mapping[str, Any], fixed: Mapping[str, Any]
) -> AnyRule | None:
    """Return the first rule that a point breaks, or None.

    `fixed` holds the values of fields that are not swept. A swept field that is not in the
    point is inactive and must not be in `fixed` either.
    """
    values = {**fixed, **point}
    return next((rule for rule in rules if not rule.holds(values)), None)


def read_rules(form: Any) -> tuple[Rule, ...]:
    """Return the rules that a list of texts is; raises `SpaceError` with all its issues."""
    must = 'must be a list of rules such as ["adapter.alpha <= 4 * adapter.rank"]'
    return _read_each(form, must, lambda each: each if isinstance(each, Rule) else Rule(each))


def read_forbidden(form: Any) -> tuple[Forbidden, ...]:
    """Return the combinations that a list of mappings is; raises `SpaceError` likewise."""
    must = "must be a list of combinations such as [{quantization: int8, train.epochs: 9}]"
    return _read_each(form, must, _combination)


def _read_each(forms: Any, must: str, read: Callable[[Any], T]) -> tuple[T, ...]:
    """Read each form; raises `SpaceError` with the issues of all, under their indices."""
    if not isinstance(forms, (list, tuple)):
        raise SpaceError(Issue((), must, show(forms)))
    found: list[T] = []
    issues: list[Issue] = []
    for index, form in enumerate(forms):
        try:
            found.append(read(form))
        except SpaceError as error:
            issues += [issue.below(str(index)) for issue in error.issues]
    raise_any(issues)
    return tuple(found)


def _combination(form: Any) -> Forbidden:
    if isinstance(form, Forbidden):
        return form
    if not isinstance(form, Mapping) or not form:
        must = "must be a mapping from fields to values, such as {quantization: int8}"
        raise SpaceError(Issue((), must, show(form)))
    must = "must be a value or a list of one or more values"
    raise_any(
        Issue((path,), must, show(bad))
        for path, bad in form.items()
        if not listed(bad) or not all(map(is_value, listed(bad)))
    )
    return Forbidden({path: listed(bad) for path, bad in form.items()})


def rule_issues(
    rule: AnyRule, space: Mapping[str, Domain], fixed: Mapping[str, Any]
) -> Iterator[Issue]:
    """Yield what is wrong with a rule between the fields of a space and the fixed ones."""
    strangers = [path for path in rule.fields if path not in space and path not in fixed]
    for path in strangers:
        near = nearest(path, [*space, *fixed])
        yield Issue((), "must name fields of the recipe", path, near)
    if isinstance(rule, Forbidden):
        for path, bad in rule.values.items():
            for value in bad if path in space else ():
                if not space[path].contains(value):
                    yield unreachable((path,), space, path, value)
    elif not strangers:
        kinds = {path: kinds_of([value]) for path, value in fixed.items()}
        kinds |= {path: kinds_of(domain.edges()) for path, domain in space.items()}
        if not rule.fields:
            yield Issue((), "must name a field, such as adapter.rank", show(rule.text))
        for must in kind_issues(rule.condition, kinds):
            yield Issue((), must, show(rule.text))


@dataclass(frozen=True, kw_only=True)
class Feasibility:
    """The share of a space that its rules allow."""

    points: int
    allowed: int
    refused: Mapping[str, int]
    """Rule, as text -> how many points break it; a point may break several."""
    exact: bool
    """Whether these are all points; otherwise they are sampled at random."""

    @property
    def share(self) -> float:
        """The share of points that are allowed."""
        return self.allowed / self.points


def feasible(
    space: Space,
    rules: Sequence[AnyRule],
    fixed: Mapping[str, Any],
    tries: int = 1000,
    seed: int = 0,
) -> Feasibility:
    """Return how many points are allowed and how many each rule refuses.

    Only the fields that some rule names, and those they depend on, are varied: the others
    change nothing. `fixed` is as for `broken`.
    """
    part = space.part({path for rule in rules for path in rule.fields})
    exact = not part or Space(part).size() <= ENUMERATED
    found: Iterable[Mapping[str, Value]] = [{}]
    if part:
        found = Space(part).points() if exact else _sampled(Space(part), tries, seed)
    refused = Counter({str(rule): 0 for rule in rules})
    points = allowed = 0
    for point in found:
        values = {**fixed, **point}
        violated = [str(rule) for rule in rules if not rule.holds(values)]
        refused.update(violated)
        points, allowed = points + 1, allowed + (not violated)
    return Feasibility(points=points, allowed=allowed, refused=dict(refused), exact=exact)


def _sampled(space: Space, tries: int, seed: int) -> Iterator[Mapping[str, Value]]:
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=seed))
    for _ in range(tries):
        yield space.suggest(study.ask())
