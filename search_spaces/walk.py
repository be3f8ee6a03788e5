"""Values put into a space as if an Optuna trial had drawn them, so that conditions decide."""

from collections.abc import Mapping, Sequence
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


def placed(space: Space, values: Mapping[str, Any]) -> tuple[dict[str, Value], Given]:
    """Return the part of `values` that is a point of the space, without inactive domains.

    Raises KeyError with the path of a domain that is active but has no value. Whether the
    values lie in their domains is not looked at.
    """
    given = Given(values)
    return space.suggest(cast("BaseTrial", given)), given
