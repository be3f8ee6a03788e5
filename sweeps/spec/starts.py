"""Points that a sweep starts with: those of its file, or the recipe's own values."""

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, cast

from search_spaces.domains import Domain
from search_spaces.issues import Issue, nearest, show
from search_spaces.space import Given, Space, placed
from search_spaces.values import is_number, plain
from sweeps.spec.sweep import Sweep
from sweeps.spec.validation import dotted

if TYPE_CHECKING:
    from optuna.trial import BaseTrial


def points(sweep: Sweep) -> list[dict[str, Any]]:
    """Return the points to start with; fields that they leave out are drawn."""
    given = sweep.search.start
    if given is None:
        own, _ = own_point(sweep)
        return [] if own is None else [own]
    return [normalized(sweep.search.space, point) for point in given]


def own_point(sweep: Sweep) -> tuple[dict[str, Any] | None, str]:
    """Return the recipe's own values of the swept fields as a point, or None, and the reason."""
    space, values = sweep.search.space, dotted(sweep.recipe)
    point, _ = placed(space, values)
    for path, value in point.items():
        if not space[path].contains(value):
            return None, f"{path} {show(value)} is outside {space[path]}"
    rule = sweep.refusal(point)
    if rule is not None:
        return None, f"they break {rule}"
    return point, "the recipe's own values"


def issues(sweep: Sweep) -> Iterator[Issue]:
    """Yield what is wrong with the points to start with."""
    for index, point in enumerate(sweep.search.start or ()):
        for issue in point_issues(sweep, point):
            yield issue.below("search", "start", str(index))


def point_issues(sweep: Sweep, point: Mapping[str, Any]) -> list[Issue]:
    """Return what is wrong with a given point, of which fields may be left out."""
    space, found = sweep.search.space, []
    for path, value in point.items():
        if path not in space:
            must = "must name a field of search.space"
            found.append(Issue((path,), must, path, nearest(path, space)))
            continue
        if not space[path].contains(value):
            must = f"must lie in the field's domain, {space[path]}"
            found.append(Issue((path,), must, show(value), _nearest(space[path], value)))
            continue
        for parent, allowed in space[path].when.items():
            if parent in point and point[parent] not in allowed:
                must = f"must be left out unless {parent} is {' or '.join(map(show, allowed))}"
                found.append(Issue((path,), must, f"{parent} {show(point[parent])}"))
    rule = None if found else sweep.refusal(normalized(space, point))
    return found if rule is None else [Issue((), "must keep the rules", rule)]


def normalized(space: Space, point: Mapping[str, Any]) -> dict[str, Any]:
    """Return a point with its values as Optuna samples them: a choice itself, floats as such."""
    given = cast("BaseTrial", Given(point))
    return {path: space[path].suggest(given, path) for path in point}


def _nearest(domain: Domain, value: Any) -> str | None:
    """Return the value of a domain that lies nearest to one outside."""
    edges = domain.edges()
    if not is_number(value):
        return nearest(value, map(plain, edges))
    numbers: list[Any] = [edge for edge in edges if is_number(edge)]
    return show(min(numbers, key=lambda edge: abs(float(edge) - value))) if numbers else None
