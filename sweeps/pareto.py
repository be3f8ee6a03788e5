"""Pareto fronts of several results: those that no other result dominates.

Pure functions over costs (results, objectives), of which less is better; see `costs`.
"""

import math
from collections.abc import Sequence
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

Costs: TypeAlias = NDArray[np.float64]


def costs(values: Sequence[Sequence[float]], modes: Sequence[str]) -> Costs:
    """Return results (results, objectives) as costs; NaN becomes the worst, infinity."""
    signs = np.array([-1.0 if mode == "max" else 1.0 for mode in modes])
    found = np.asarray(values, dtype=float).reshape(-1, len(signs)) * signs
    return np.where(np.isnan(found), math.inf, found)


def fronts(found: Costs) -> list[list[int]]:
    """Return the rows in fronts: those that no other dominates, then without them, and so on.

    A row dominates another that is as good nowhere better, and worse somewhere (Deb et al. 2002).
    """
    as_good: NDArray[np.bool_] = np.all(found[:, None] <= found[None], axis=-1)
    dominates = as_good & ~as_good.T  # rows that are equal do not dominate each other
    left = np.ones(len(found), dtype=bool)
    made = []
    while left.any():
        first = left & ~dominates[left].any(axis=0)
        made.append([int(row) for row in np.flatnonzero(first)])
        left &= ~first
    return made


def order(found: Costs) -> list[int]:
    """Return the rows, best first: front by front, and within one those that lie far apart.

    A front is ordered by an epsilon net, as MO-ASHA does (Schmucker et al. 2021).
    """
    return [front[place] for front in fronts(found) for place in _spread(found[front])]


def _spread(front: Costs) -> list[int]:
    """Return the rows: the best by the first objective, then always the farthest from all before.

    Distances are measured in shares of each objective's range.
    """
    finite = front[np.isfinite(front)]
    bounded = np.nan_to_num(front, posinf=float(finite.max()) if finite.size else 0.0)
    low, high = bounded.min(axis=0), bounded.max(axis=0)
    scaled = (bounded - low) / np.where(high > low, high - low, 1.0)
    chosen = [int(scaled[:, 0].argmin())]
    distance = np.full(len(front), math.inf)
    while len(chosen) < len(front):
        distance = np.minimum(distance, np.linalg.norm(scaled - scaled[chosen[-1]], axis=1))
        distance[chosen] = -1.0
        chosen.append(int(distance.argmax()))
    return chosen
