"""Statistics of captions by several metrics, with those that were computed before."""

from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from typing import TypeAlias

import numpy as np

from workers.metrics.metric import Array, Bound, Captions, Metric

Forms: TypeAlias = dict[str, Captions]
"""``text`` or ``tokens``, as `Metric.reads` -> the captions in that form."""

Key: TypeAlias = tuple[str, ...]
"""An image and its caption in each form."""

_KEPT = 50_000
"""Captions whose statistics are kept, the longest unused leave first: about 40 MiB."""


class Remembered:
    """Computes statistics of captions of some images once.

    They depend on nothing but the caption and its image, for nearly all metrics; and most
    captions come back at the next rung.
    """

    def __init__(self, metrics: Mapping[Metric, Bound]) -> None:
        self._metrics = metrics
        self._alone = [metric for metric in metrics if metric.alone]
        self._widths: list[int] = []
        self._memo = _Memo()

    def statistics(self, candidates: Forms) -> dict[str, Array]:
        """Return the statistics of all images (images, k) by name of the metric."""
        found = {m.name: self._compute(m, candidates) for m in self._metrics if not m.alone}
        if self._alone:
            found |= self._remembered(candidates)
        return found

    def _remembered(self, candidates: Forms) -> dict[str, Array]:
        keys = [
            (image, *(captions[image][0] for captions in candidates.values()))
            for image in candidates["text"]
        ]
        columns = self._memo.table(keys, lambda new: self._side_by_side(candidates, new))
        parts = np.split(columns, np.cumsum(self._widths)[:-1], axis=1)
        return {metric.name: part for metric, part in zip(self._alone, parts, strict=True)}

    def _side_by_side(self, candidates: Forms, keys: Sequence[Key]) -> Array:
        """Return the statistics of all metrics in one table (keys, columns)."""
        some: Forms = {
            form: {image: captions[image] for image, *_ in keys}
            for form, captions in candidates.items()
        }
        parts = [self._compute(metric, some) for metric in self._alone]
        self._widths = [part.shape[1] for part in parts]
        return np.hstack(parts)

    def _compute(self, metric: Metric, candidates: Forms) -> Array:
        return self._metrics[metric].rows(candidates[metric.reads])


class _Memo:
    """Rows of numbers by image and caption."""

    def __init__(self) -> None:
        self._rows: OrderedDict[Key, Array] = OrderedDict()

    def table(self, keys: Sequence[Key], compute: Callable[[Sequence[Key]], Array]) -> Array:
        """Return the rows of `keys` (keys, columns), and let `compute` make those not known."""
        new = [key for key in keys if key not in self._rows]
        if new:
            # A view of a row would keep all rows that were computed with it.
            rows = (row.copy() for row in compute(new))
            self._rows.update(zip(new, rows, strict=True))
        for key in keys:
            self._rows.move_to_end(key)
        found = np.stack([self._rows[key] for key in keys])
        while len(self._rows) > _KEPT:
            self._rows.popitem(last=False)
        return found
