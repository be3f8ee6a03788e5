"""Statistics of captions by several metrics, each computed once."""

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from typing import TypeAlias

import numpy as np

from workers.metrics.metric import Array, Bound, Captions, Metric

Forms: TypeAlias = dict[str, Captions]
"""``text`` or ``tokens``, as `Metric.reads` -> the captions in that form."""

Key: TypeAlias = tuple[str, ...]
"""An image and its caption in each form."""

_KEPT = 50_000
"""Captions whose statistics are kept, the longest unused leave first: about 40 MiB."""


class StatisticsCache:
    """Computes statistics of captions of some images once.

    They depend on nothing but the caption and its image, for nearly all metrics; and most
    captions come back at the next rung.
    """

    def __init__(self, metrics: Mapping[Metric, Bound]) -> None:
        self._metrics = metrics
        self._cached = [metric for metric in metrics if metric.alone]
        self._widths: list[int] = []
        self._rows: OrderedDict[Key, Array] = OrderedDict()

    def statistics(self, candidates: Forms) -> dict[str, Array]:
        """Return the statistics of all images (images, k) by name of the metric."""
        found = {m.name: self._compute(m, candidates) for m in self._metrics if not m.alone}
        if self._cached:
            forms = candidates.values()
            keys = [(image, *(form[image][0] for form in forms)) for image in candidates["text"]]
            self._add([key for key in keys if key not in self._rows], candidates)
            for key in keys:
                self._rows.move_to_end(key)
            table = np.stack([self._rows[key] for key in keys])
            while len(self._rows) > _KEPT:
                self._rows.popitem(last=False)
            parts = np.split(table, np.cumsum(self._widths)[:-1], axis=1)
            found |= {metric.name: part for metric, part in zip(self._cached, parts, strict=True)}
        return found

    def _add(self, keys: Sequence[Key], candidates: Forms) -> None:
        """Compute the rows of new captions, those of all metrics side by side."""
        if not keys:
            return
        images = [image for image, *_ in keys]
        some: Forms = {form: {i: own[i] for i in images} for form, own in candidates.items()}
        parts = [self._compute(metric, some) for metric in self._cached]
        self._widths = [part.shape[1] for part in parts]
        # A view of a row would keep all rows that were computed with it.
        rows = (row.copy() for row in np.hstack(parts))
        self._rows.update(zip(keys, rows, strict=True))

    def _compute(self, metric: Metric, candidates: Forms) -> Array:
        return self._metrics[metric].rows(candidates[metric.reads])
