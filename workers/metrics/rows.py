"""Statistics of the common kinds: a row per caption, and ratios of two summed columns."""

from collections.abc import Callable, Iterable, Sequence

from workers.metrics.metric import Array, Bind, Bound, Captions, Pool

Row = Callable[[list[str], str], Sequence[float]]
"""(references of an image, its caption) -> its row of statistics."""


def each(row: Row) -> Bind:
    """Return the binding of a metric that needs no more than the image's own references."""

    def bind(references: Captions, whole: Captions) -> Bound:
        def rows(candidates: Captions) -> Array:
            return table(row(references[image], text) for image, (text,) in candidates.items())

        return Bound(rows=rows)

    return bind


def table(rows: Iterable[Sequence[float]]) -> Array:
    """Return rows of numbers as an array (rows, columns)."""
    import numpy as np  # here, because the catalog must stay light

    return np.array(list(rows), dtype=np.float64)


def ratio(output: str) -> Pool:
    """Return the pool of a metric that is one sum over another: that of columns 0 and 1.

    With a second column of ones it is the mean over the images.
    """

    def pool(totals: Array) -> dict[str, Array]:
        return {output: totals[..., 0] / totals[..., 1]}

    return pool
