"""What a host returns for a rung of a trial: to Tune, to Optuna, and as a line of the record."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

_KEYS = {"infeasible": "hopeless", "disk_full": "full"}
"""Fields whose key in Tune's results and in records is not their name."""


@dataclass(frozen=True, kw_only=True)
class RungResult:
    """A rung of a trial, or why there is none."""

    rung: int = 0
    """Its number; 0 for a trial that cannot go on."""
    objective: float | None = None
    """The leading objective; None for a rung without captions, or without a score."""
    objectives: tuple[float, ...] = ()
    """All objectives, the leading one first; NaN for those that the rung has not."""
    best: float | None = None
    """The leading objective at the trial's best rung so far; None while there is none."""
    bests: tuple[float, ...] = ()
    """All objectives there; empty while there is none."""
    finished: bool = False
    """Whether the trial has completed with this rung."""
    guard: str | None = None
    """Why the guard stopped the trial."""
    infeasible: bool = False
    """Whether the trial ends because no later rung can keep the limits of the search."""
    failed: str | None = None
    """Why the trial cannot go on: a traceback, cause last."""
    disk_full: str | None = None
    """The disk is full or the storage away, in words; the rung is not on record."""
    changes: int = 0
    """How often the trial had been given another point before the rung."""
    symptoms: tuple[str, ...] = ()
    """What is wrong with the rung, in words; empty for a healthy one."""
    violations: Mapping[str, float] = field(default_factory=dict)
    """Name of a limit -> by how much the trial violates it; above 0 is too much."""
    violates: str | None = None
    """Which limits the trial violates, in words."""
    metrics: Mapping[str, float] = field(default_factory=dict)
    """All that the rung measured, such as ``val/cider``."""
    seconds: float = 0.0
    """How long the rung took."""
    time: float = 0.0
    """When it ended, in seconds since 1970."""

    @property
    def is_last(self) -> bool:
        """Whether the trial ended with this rung: by itself, by the guard, or by a limit."""
        return bool(self.finished or self.guard or self.infeasible)

    @property
    def is_rung(self) -> bool:
        """Whether a rung was done: it says why there is none otherwise."""
        return not (self.failed or self.disk_full)

    @property
    def score(self) -> float | None:
        """The leading objective where it is a number that can be compared."""
        value = self.objective
        return value if value is not None and math.isfinite(value) else None

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> "RungResult":
        """Return the result that `values` hold: a line of a record, or one of Tune's results.

        What an older version did not write has its default. Tune hands nested values to a search
        algorithm flat: ``{"violations/memory": 1.0}``.
        """
        found = {
            one.name: values[key]
            for one in fields(cls)
            if values.get(key := _KEYS.get(one.name, one.name)) is not None
        }
        for name in ("objectives", "bests", "symptoms"):
            found[name] = tuple(found.get(name, ()))
        flat = {
            name.removeprefix("violations/"): float(value)
            for name, value in values.items()
            if name.startswith("violations/")
        }
        found["violations"] = {**found.get("violations", {}), **flat}
        return cls(**found)

    def to_json(self) -> dict[str, Any]:
        """Return the values under the keys of Tune's results and of records."""
        return {_KEYS.get(one.name, one.name): getattr(self, one.name) for one in fields(self)}
