"""Samplers, which propose points: one file and one name here per sampler.

Each module offers

    make(draw: Draw, *, ...) -> optuna.samplers.BaseSampler
        its keyword-only parameters are what ``search.sampler.options`` may hold
    LEARNS_FROM_STOPPED: bool
        it learns from trials that the scheduler stopped
    SEVERAL_OBJECTIVES: bool
        it can look for a Pareto front
    TAKES_CONDITIONS: bool
        it samples domains with conditions on other fields
    TAKES_WIDER_SPACE: bool
        it continues when a resumed sweep has wider ranges than its earlier trials
    issues(space: Space) -> Iterable[Issue]
        other domains that it cannot sample, by their paths; left out where there are none
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import Any

from search_spaces.issues import Issue
from search_spaces.space import Space

NAMES = ("random", "grid", "tpe", "cmaes", "gp", "nsga2", "qmc")


@dataclass(frozen=True, kw_only=True)
class Draw:
    """One draw of a sweep. A sampler is made anew for each, from nothing but this and the study.

    So a sweep that was stopped resumes with the points that it would have had.
    """

    sweep_seed: int
    trial: int = 0
    """Number of the trial that the point is for."""
    attempt: int = 0
    """Number of points that were drawn for the trial before, and refused."""
    refused: int = 0
    """Number of points of the whole study that rules have refused."""

    @property
    def seed(self) -> int:
        """A seed of the draw's own."""
        return (self.sweep_seed * 1_000_003 + self.trial + 104_729 * self.attempt) % 2**32


def module(name: str) -> Any:
    """Return the module of the sampler called `name`; imports nothing heavy."""
    return import_module(f"{__name__}.{name}")


def make(name: str, draw: Draw, options: Mapping[str, Any]) -> Any:
    """Return the Optuna sampler called `name`; raises TypeError for an option it has not."""
    return module(name).make(draw, **options)


def issues(name: str, space: Space) -> Iterator[Issue]:
    """Yield what keeps the sampler called `name` from sampling a space."""
    sampler = module(name)
    for path, domain in space.items():
        if domain.when and not sampler.TAKES_CONDITIONS:
            must = (
                f"must be without conditions: {name} learns only what every point has; "
                "tpe, random and grid take conditional domains"
            )
            yield Issue((path, "when"), must, ", ".join(domain.when))
    if hasattr(sampler, "issues"):
        yield from sampler.issues(space)
