"""Domains: the values of one dimension of a search space. Frozen, picklable values.

Each kind of range is one class, listed in `RANGES`. A constructor raises `SpaceError` for
a domain that cannot be, such as a range whose low end lies above its high end.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import TYPE_CHECKING, Any, ClassVar

from search_spaces.issues import Issue, SpaceError, raise_any, show
from search_spaces.values import Value, is_number, is_value, is_whole, plain, same

if TYPE_CHECKING:
    from optuna.trial import BaseTrial

When = Mapping[str, tuple[Value, ...]]
"""Swept path -> the values of it for which a conditional domain is active; all must hold."""


@dataclass(frozen=True)
class Choice:
    """One of several values, without order."""

    values: tuple[Value, ...]
    when: When = field(default_factory=dict, kw_only=True, hash=False)
    kind: ClassVar[str] = "choice"

    def __post_init__(self) -> None:
        values = self.values
        if not (isinstance(values, tuple) and values and all(map(is_value, values))):
            must = "must be a list of one or more texts, numbers, true, false or null"
            raise SpaceError(Issue((self.kind,), must, show(values)))
        # Optuna looks choices up with ==, to which 1, 1.0 and true are the same.
        repeated = [value for index, value in enumerate(values) if value in values[:index]]
        if repeated:
            must = f"must be a list without repeats, {', '.join(map(show, repeated))} repeats"
            raise SpaceError(Issue((self.kind,), must, show(values)))

    def suggest(self, trial: "BaseTrial", name: str) -> Value:
        """Suggest a value in an Optuna trial."""
        return trial.suggest_categorical(name, self.values)

    def edges(self) -> tuple[Value, ...]:
        """Return values that fit a field only if all values of the domain do: here, all."""
        return self.values

    def size(self) -> float:
        """Return the number of values."""
        return len(self.values)

    def grid(self) -> tuple[Value, ...]:
        """Return all values."""
        return self.values

    def contains(self, value: Any) -> bool:
        """Return whether the domain contains `value`."""
        return any(same(value, own) for own in self.values)

    def form(self) -> dict[str, Any]:
        """Return the domain as it is written in a sweep file."""
        return {self.kind: list(self.values), **_extra_form(self.when)}

    def __str__(self) -> str:
        return ", ".join(map(plain, self.values)) + _extra_text(self.when)


@dataclass(frozen=True)
class Range:
    """Base of the four ranges of numbers; both ends belong to the range."""

    low: float
    high: float
    step: float | None = None
    """Distance between neighbouring values, counted from `low`; divides the range."""
    when: When = field(default_factory=dict, kw_only=True, hash=False)
    kind: ClassVar[str]
    log: ClassVar[bool] = False
    """Every power of ten is equally likely."""
    whole: ClassVar[bool] = False
    """Whole numbers only, one apart by default."""

    def __post_init__(self) -> None:
        low, high, step = self.low, self.high, self.step
        numbers, is_right = ("whole numbers", is_whole) if self.whole else ("numbers", is_number)
        ends = must = None
        if not (is_right(low) and is_right(high)):
            ends = f"must be two {numbers}, the low and the high end"
        elif self.log and low <= 0:
            ends = "must have a low end above 0, because the scale is logarithmic"
        elif low >= high:
            ends = "must have a low end below the high end"
        if step is None:
            pass
        elif self.log:
            must = "must be left out: on a logarithmic scale Optuna has no steps"
        elif not is_right(step) or step <= 0:
            must = f"must be a {'whole ' if self.whole else ''}number above 0"
        elif not ends and _steps(low, high, step) < 1:
            must = f"must be at most the length of the range, {show(high - low)}"
        elif not ends and not _is_integral(_steps(low, high, step)):
            must = f"must divide the range, or its end {show(high)} would never be reached"
        issues = [Issue((self.kind,), ends, show([low, high]))] if ends else []
        raise_any([*issues, Issue(("step",), must, show(step))] if must else issues)

    def suggest(self, trial: "BaseTrial", name: str) -> Value:
        """Suggest a value in an Optuna trial."""
        if self.whole:
            step = int(self.step or 1)
            return trial.suggest_int(name, int(self.low), int(self.high), step=step, log=self.log)
        return trial.suggest_float(name, self.low, self.high, step=self.step, log=self.log)

    def edges(self) -> tuple[Value, ...]:
        """Return values that fit a field only if all values of the domain do: the two ends."""
        return (self.low, self.high) if self.whole else (float(self.low), float(self.high))

    def size(self) -> float:
        """Return the number of values, infinite for a continuous range."""
        step = self.step or (1 if self.whole else None)
        return math.inf if step is None else round(_steps(self.low, self.high, step)) + 1

    def grid(self) -> tuple[Value, ...]:
        """Return all values from the low to the high end; raises ValueError if continuous."""
        if math.isinf(self.size()):
            raise ValueError(f"a continuous range has no grid: {self}")
        if self.whole:
            return tuple(range(int(self.low), int(self.high) + 1, int(self.step or 1)))
        low, step = Decimal(str(self.low)), Decimal(str(self.step))
        return tuple(float(low + index * step) for index in range(int(self.size())))

    def contains(self, value: Any) -> bool:
        """Return whether the domain contains `value`."""
        fits = is_whole(value) if self.whole else is_number(value)
        if not (fits and self.low <= value <= self.high):
            return False
        return self.step is None or _is_integral(_steps(self.low, value, self.step))

    def form(self) -> dict[str, Any]:
        """Return the domain as it is written in a sweep file."""
        step = {} if self.step is None else {"step": self.step}
        return {self.kind: [self.low, self.high], **step, **_extra_form(self.when)}

    def __str__(self) -> str:
        step = "" if self.step is None else f" by {show(self.step)}"
        scale = ", log scale" if self.log else ""
        return f"{show(self.low)} to {show(self.high)}{step}{scale}" + _extra_text(self.when)


class Uniform(Range):
    """Numbers, all equally likely."""

    kind = "uniform"


class LogUniform(Range):
    """Numbers above 0, small ones as likely as large ones: for learning rates."""

    kind = "log_uniform"
    log = True


class IntUniform(Range):
    """Whole numbers, all equally likely."""

    kind = "int_uniform"
    whole = True


class IntLogUniform(Range):
    """Whole numbers above 0, small ones as likely as large ones."""

    kind = "int_log_uniform"
    log = True
    whole = True


RANGES: Mapping[str, type[Range]] = {
    each.kind: each for each in (Uniform, LogUniform, IntUniform, IntLogUniform)
}
KINDS = ("choice", *RANGES)
Domain = Choice | Range


def _steps(low: float, high: float, step: float) -> Decimal:
    """Return (high - low) / step without binary rounding, as Optuna counts too."""
    return (Decimal(str(high)) - Decimal(str(low))) / Decimal(str(step))


def _is_integral(number: Decimal) -> bool:
    return abs(number - number.to_integral_value()) < Decimal("1e-9")


def when_form(when: When) -> dict[str, Any]:
    """Return conditions as they are written in a sweep file: a single value without a list."""
    values = {path: list(allowed) for path, allowed in when.items()}
    return {path: v[0] if len(v) == 1 else v for path, v in values.items()}


def when_text(when: When) -> str:
    """Return conditions in words, such as ``quantization is nf4 or int8``."""
    conditions = (f"{path} is {' or '.join(map(plain, v))}" for path, v in when.items())
    return " and ".join(conditions)


def _extra_form(when: When) -> dict[str, Any]:
    return {"when": when_form(when)} if when else {}


def _extra_text(when: When) -> str:
    return f", when {when_text(when)}" if when else ""
