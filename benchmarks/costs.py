"""What a search costs until it has found a good point, and how two searches compare."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice

import numpy as np
from numpy.typing import NDArray

Costs = NDArray[np.float64]
"""Epochs that each seed's search needed."""


@dataclass(frozen=True, kw_only=True)
class Interval:
    """A figure with its 95 % bootstrap interval over the seeds."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.value:.2f} ({self.low:.2f} to {self.high:.2f})"


def until(history: Iterator[float], goal: float, least: int, most: int) -> tuple[int, list[float]]:
    """Follow a search until it reaches `goal`, for at least `least` and at most `most` epochs.

    Returns the epochs that it needed, `most` if it never got there, and its best scores after
    each of the first `least` epochs.
    """
    seen: list[float] = []
    for best in islice(history, most):
        seen.append(best)
        if best >= goal and len(seen) >= least:
            break
    reached = next((epoch for epoch, best in enumerate(seen, 1) if best >= goal), most)
    return reached, seen[:least]


def ratio(
    mine: Costs, other: Costs, average: Callable[..., Costs], resamples: int = 2000
) -> Interval:
    """Return ``average(mine) / average(other)``, seeds drawn again independently in each."""
    random = np.random.default_rng(0)
    above, below = (_averages(costs, average, resamples, random) for costs in (mine, other))
    low, high = np.percentile(above / below, (2.5, 97.5))
    return Interval(value=float(average(mine) / average(other)), low=low, high=high)


def _averages(
    costs: Costs, average: Callable[..., Costs], resamples: int, random: np.random.Generator
) -> Costs:
    return average(random.choice(costs, size=(resamples, len(costs))), axis=1)
