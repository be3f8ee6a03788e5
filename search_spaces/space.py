"""A search space: the set of points that a sampler may propose."""

import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter
from typing import TYPE_CHECKING, Any, cast

from search_spaces.domains import Choice, Domain
from search_spaces.issues import Issue, Keys, nearest, raise_any, show
from search_spaces.values import Value, same

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution
    from optuna.trial import BaseTrial

_UNNAMED = object()  # stands for every value of a parent that no condition names


@dataclass(frozen=True)
class Space(Mapping[str, Domain]):
    """Dotted paths of recipe fields with their domains, in the order in which they were given.

    A domain with conditions (`when`) is part of a point only if they hold. Raises `SpaceError`
    with all conditions that can never hold. Spaces can be pickled.
    """

    domains: Mapping[str, Domain]

    def __post_init__(self) -> None:
        object.__setattr__(self, "domains", dict(self.domains))
        raise_any(condition_issues(self.domains))

    def __getitem__(self, path: str) -> Domain:
        return self.domains[path]

    def __iter__(self) -> Iterator[str]:
        return iter(self.domains)

    def __len__(self) -> int:
        return len(self.domains)

    def suggest(self, trial: "BaseTrial") -> dict[str, Value]:
        """Suggest a point in an Optuna trial; parameters are named by their dotted paths.

        Inactive domains are not suggested and not in the point.
        """
        point: dict[str, Value] = {}
        for path in self._parents_first():
            if _active(self[path], point):
                point[path] = self[path].suggest(trial, path)
        return {path: point[path] for path in self if path in point}

    def size(self) -> float:
        """Return the number of different points, infinite if any domain is continuous."""
        return _count(self, self._parents_first(), {})

    def combinations(self) -> float:
        """Return the number of points that differ in more than a continuous domain."""
        single = {
            path: Choice((0,), when=domain.when) if math.isinf(domain.size()) else domain
            for path, domain in self.items()
        }
        return Space(single).size()

    def points(self) -> Iterator[dict[str, Value]]:
        """Yield all different points of a finite space; raises ValueError for another one."""

        def grown(point: dict[str, Value], paths: tuple[str, ...]) -> Iterator[dict[str, Value]]:
            if not paths:
                yield {path: point[path] for path in self if path in point}
            elif not _active(self[paths[0]], point):
                yield from grown(point, paths[1:])
            else:
                for value in self[paths[0]].grid():
                    yield from grown({**point, paths[0]: value}, paths[1:])

        return grown({}, self._parents_first())

    def part(self, paths: Collection[str]) -> dict[str, Domain]:
        """Return the domains of `paths`, as far as they are swept, and of all they depend on."""
        needed = set(paths)
        for path in reversed(self._parents_first()):
            needed |= set(self[path].when) if path in needed else set()
        return {path: domain for path, domain in self.items() if path in needed}

    def form(self) -> dict[str, dict[str, Any]]:
        """Return the space as it is written in a sweep file."""
        return {path: domain.form() for path, domain in self.items()}

    def _parents_first(self) -> tuple[str, ...]:
        return tuple(_sorter(self).static_order())


def _sorter(domains: Mapping[str, Domain]) -> TopologicalSorter[str]:
    return TopologicalSorter({path: tuple(domain.when) for path, domain in domains.items()})


def _active(domain: Domain, point: Mapping[str, Any]) -> bool:
    """Return whether all conditions hold; a parent that is itself inactive fails its condition."""
    return all(
        parent in point and any(same(point[parent], value) for value in allowed)
        for parent, allowed in domain.when.items()
    )


def _count(
    domains: Mapping[str, Domain], paths: tuple[str, ...], point: Mapping[str, Any]
) -> float:
    """Count the ways to complete `point` with `paths`, which are sorted parents first."""
    if not paths:
        return 1
    path, rest = paths[0], paths[1:]
    if not _active(domains[path], point):
        return _count(domains, rest, point)
    # Only values that some condition names can differ in what follows.
    named: list[Value] = []
    for domain in domains.values():
        for value in domain.when.get(path, ()):
            if not any(same(value, known) for known in named):
                named.append(value)
    total = sum(_count(domains, rest, {**point, path: value}) for value in named)
    others = domains[path].size() - len(named)
    return total + others * _count(domains, rest, {**point, path: _UNNAMED}) if others else total


def condition_issues(
    domains: Mapping[str, Domain], unread: Collection[str] = ()
) -> Iterator[Issue]:
    """Yield what is wrong with the conditions of `domains`.

    `unread` are paths that are swept too, but whose domains could not be read.
    """
    if not domains and not unread:
        yield Issue((), "must have at least one domain", "{}")
    parents = [issue for path in domains for issue in _parent_issues(domains, path, unread)]
    yield from parents
    try:
        _sorter(domains).prepare()
    except CycleError as error:
        cycle = error.args[1]
        yield Issue((cycle[-1], "when"), "must not depend on itself", " <- ".join(cycle))
        return
    if parents or unread:
        return
    for path in domains:  # conditions that, with those of their parents, exclude each other
        for parent, allowed in _needs(domains, path).items():
            if not allowed:
                must = f"must hold at times, but {parent} would need two values at once"
                yield Issue((path, "when"), must)


def unreachable(keys: Keys, domains: Mapping[str, Domain], path: str, value: Any) -> Issue:
    """Return the issue of a value that is outside of the domain of `path`."""
    names = [str(edge) for edge in domains[path].edges()]
    must = f"must be a value that {path} can take ({domains[path]})"
    return Issue(keys, must, show(value), nearest(value, names))


def _parent_issues(
    domains: Mapping[str, Domain], path: str, unread: Collection[str]
) -> Iterator[Issue]:
    """Yield conditions on paths that are not swept, or on values that they cannot take."""
    for parent, allowed in domains[path].when.items():
        at = (path, "when", parent)
        if parent not in domains:
            if parent not in unread:
                near = nearest(parent, [*domains, *unread])
                yield Issue(at, "must name a path that is swept too", parent, near)
            continue
        if not allowed:
            yield Issue(at, "must be a value or a list of one or more values", "[]")
        if math.isinf(domains[parent].size()):
            yield Issue(at, "must name a path with a choice, steps or whole numbers", parent)
            continue
        for value in allowed:
            if not domains[parent].contains(value):
                yield unreachable(at, domains, parent, value)


def _needs(domains: Mapping[str, Domain], path: str) -> dict[str, tuple[Value, ...]]:
    """Return what every ancestor of `path` may be while `path` is active."""
    needs = dict(domains[path].when)
    for parent in domains[path].when:
        for ancestor, allowed in _needs(domains, parent).items():
            known = needs.get(ancestor, allowed)
            needs[ancestor] = tuple(v for v in known if any(same(v, other) for other in allowed))
    return needs


class Given:
    """Stands in for an Optuna trial that suggests given values; raises KeyError without one.

    `distributions` are Optuna's of the suggested domains, by their paths.
    """

    def __init__(self, values: Mapping[str, Any]) -> None:
        self._values = values
        self.distributions: dict[str, BaseDistribution] = {}

    def suggest_categorical(self, name: str, choices: Sequence[Value]) -> Value:
        """Return the choice that is the given value."""
        from optuna.distributions import CategoricalDistribution

        given = self._values[name]
        self.distributions[name] = CategoricalDistribution(tuple(choices))
        return next((choice for choice in choices if same(choice, given)), given)

    def suggest_int(
        self, name: str, low: int, high: int, *, step: int = 1, log: bool = False
    ) -> Value:
        """Return the given whole number."""
        from optuna.distributions import IntDistribution

        self.distributions[name] = IntDistribution(low, high, log=log, step=step)
        return cast("Value", self._values[name])

    def suggest_float(
        self, name: str, low: float, high: float, *, step: float | None = None, log: bool = False
    ) -> Value:
        """Return the given number as a float."""
        from optuna.distributions import FloatDistribution

        given = self._values[name]
        self.distributions[name] = FloatDistribution(low, high, log=log, step=step)
        return float(given) if isinstance(given, int) and not isinstance(given, bool) else given


def placed(space: Space, values: Mapping[str, Any]) -> tuple[dict[str, Value], Given]:
    """Return the part of `values` that is a point of the space, without inactive domains.

    Raises KeyError with the path of a domain that is active but has no value. Whether the
    values lie in their domains is not looked at.
    """
    given = Given(values)
    return space.suggest(cast("BaseTrial", given)), given
