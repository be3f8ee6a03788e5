"""Checks of the rules between fields: their names and kinds, and that they leave any point."""

from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Any

from search_spaces import rules
from search_spaces.issues import Issue, SpaceError
from search_spaces.rules import AnyRule, Feasibility, Forbidden, feasible
from sweeps.spec.checks import value_issues
from sweeps.spec.fields import leaves
from sweeps.spec.sweep import Sweep
from workers.recipe import Recipe

READERS: Mapping[str, Callable[[Any], tuple[AnyRule, ...]]] = {
    "rules": rules.read_rules,
    "forbidden": rules.read_forbidden,
}
"""Key of ``search`` -> what reads its list."""


def rule_issues(
    sweep: Sweep, values: Mapping[str, Any], known: Collection[Issue]
) -> Iterator[Issue]:
    """Yield what is wrong with the rules of a sweep.

    `values` is the file as it was read. With `known` issues it is not told how many points the
    rules allow, for `sweep` holds defaults in their places.
    """
    found = [issue for key in READERS for issue in _written_issues(sweep, values, key)]
    yield from found
    if not known and not found:
        yield from _contradictions(sweep)


def _written_issues(sweep: Sweep, values: Mapping[str, Any], key: str) -> Iterator[Issue]:
    """Check each rule as it was written, even beside others that cannot be read."""
    search = values.get("search")
    written = search.get(key) if isinstance(search, Mapping) else None
    fixed = sweep.fixed(leaves(Recipe))
    for index, form in enumerate(written if isinstance(written, list) else ()):
        try:
            (rule,) = READERS[key]([form])
        except SpaceError:
            continue  # reported when it was read
        issues = list(rules.rule_issues(rule, sweep.search.space, fixed))
        for path, bad in rule.values.items() if isinstance(rule, Forbidden) else ():
            if path in fixed:
                issues += value_issues(sweep, path, bad)
        yield from (issue.below("search", key, str(index)) for issue in issues)


def feasibility(sweep: Sweep) -> Feasibility:
    """Return how much of its space the rules of a sweep allow."""
    all_rules = sweep.search.all_rules
    fixed = sweep.fixed(path for rule in all_rules for path in rule.fields)
    return feasible(sweep.search.space, all_rules, fixed)


def _contradictions(sweep: Sweep) -> Iterator[Issue]:
    if not sweep.search.all_rules:
        return
    found = feasibility(sweep)
    if not found.allowed:
        most, count = max(found.refused.items(), key=lambda item: item[1])
        tried = f"all {found.points} points" if found.exact else f"{found.points} points drawn"
        key = "rules" if sweep.search.rules else "forbidden"
        yield Issue(
            ("search", key),
            f"must allow some point: of {tried}, none keeps every rule; "
            f"most, {count}, are refused by {most}",
        )
