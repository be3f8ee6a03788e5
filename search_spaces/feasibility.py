"""How much of a space its rules allow."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from search_spaces.rules import AnyRule
from search_spaces.space import Space
from search_spaces.values import Value

ENUMERATED = 5000
"""Up to so many points all are looked at; of larger spaces some are drawn."""


@dataclass(frozen=True, kw_only=True)
class Feasibility:
    """What rules leave of the points that were looked at."""

    points: int
    allowed: int
    refused: Mapping[str, int]
    """Rule, as text -> how many points break it; a point may break several."""
    exact: bool
    """Whether these are all points; otherwise they are drawn at random."""

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

    Only the fields that some rule names, and those they depend on, are drawn: the others
    change nothing. `fixed` is as for `search_spaces.rules.broken`.
    """
    part = space.part({path for rule in rules for path in rule.fields})
    exact = not part or Space(part).size() <= ENUMERATED
    refused = Counter({str(rule): 0 for rule in rules})
    points = allowed = 0
    for point in _points(part, exact, tries, seed):
        values = {**fixed, **point}
        broken = [str(rule) for rule in rules if not rule.holds(values)]
        refused.update(broken)
        points, allowed = points + 1, allowed + (not broken)
    return Feasibility(points=points, allowed=allowed, refused=dict(refused), exact=exact)


def _points(
    part: Mapping[str, Any], exact: bool, tries: int, seed: int
) -> Iterable[Mapping[str, Value]]:
    if not part:
        return [{}]
    return Space(part).points() if exact else _drawn(Space(part), tries, seed)


def _drawn(space: Space, tries: int, seed: int) -> Iterator[Mapping[str, Value]]:
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=seed))
    for _ in range(tries):
        yield space.suggest(study.ask())
