"""Walking through a space without a sampler: with given values, or over all of its points.

Both stand where an Optuna trial would stand, so that conditions decide as they do in a draw.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, cast

from search_spaces.space import Space
from search_spaces.values import Value, same

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution
    from optuna.trial import BaseTrial


class Given:
    """Answers each domain that is asked with a given value; raises KeyError without one.

    `distributions` are Optuna's of the domains that were asked, by their paths.
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


class _Path:
    """Takes the values at given indices, and notes how many there are at each turn."""

    def __init__(self, indices: Sequence[int]) -> None:
        self._indices = list(indices)
        self.turns: list[tuple[int, int]] = []
        """Index and number of values of each domain that was asked."""

    def suggest_categorical(self, name: str, choices: Sequence[Value]) -> Value:
        return choices[self._turn(len(choices))]

    def suggest_int(
        self, name: str, low: int, high: int, *, step: int = 1, log: bool = False
    ) -> Value:
        return low + step * self._turn((high - low) // step + 1)

    def suggest_float(
        self, name: str, low: float, high: float, *, step: float | None = None, log: bool = False
    ) -> Value:
        if step is None:
            raise ValueError(f"{name} must have a finite number of values, got a range")
        return min(high, low + step * self._turn(round((high - low) / step) + 1))

    def _turn(self, count: int) -> int:
        at = len(self.turns)
        index = self._indices[at] if at < len(self._indices) else 0
        self.turns.append((index, count))
        return index


def every_point(space: Space) -> Iterator[dict[str, Value]]:
    """Yield every point of a finite space once, the last domain turning fastest.

    Raises ValueError, naming the domain, for a space with a continuous one.
    """
    indices: list[int] | None = []
    while indices is not None:
        path = _Path(indices)
        yield space.suggest(cast("BaseTrial", path))
        indices = _next(path.turns)


def _next(turns: Sequence[tuple[int, int]]) -> list[int] | None:
    """Return the indices of the path after this one; None after the last."""
    for place in reversed(range(len(turns))):
        index, count = turns[place]
        if index + 1 < count:
            return [*(before for before, _ in turns[:place]), index + 1]
    return None


def placed(space: Space, values: Mapping[str, Any]) -> tuple[dict[str, Value], Given]:
    """Return the part of `values` that is a point of the space, without inactive domains.

    Raises KeyError with the path of a domain that is active but has no value. Whether the
    values lie in their domains is not looked at.
    """
    given = Given(values)
    return space.suggest(cast("BaseTrial", given)), given
