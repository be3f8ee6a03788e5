"""The description of one metric: its outputs, and the functions that compute it.

Scoring has three steps. `Metric.bind` prepares what depends on the references alone, once. What
it returns turns captions into statistics, one row per image, which are kept as long as a caption
may come back. `Metric.pool` turns sums of rows into scores: one row into that of an image, the
sum over all images into that of the corpus, a weighted sum into that of a resample.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, TypeAlias

if TYPE_CHECKING:  # the catalog is read without loading numpy
    import numpy as np
    from numpy.typing import NDArray

Captions = Mapping[str, list[str]]
"""Image id -> captions. As candidates, each image has exactly one."""

Array: TypeAlias = "NDArray[np.float64]"

Rows = Callable[[Captions], Array]
"""Candidates of some of the images -> statistics (images, k), in the order of the candidates."""

Pool = Callable[[Array], dict[str, Array]]
"""Sums of statistics (..., k) -> output -> scores (...)."""

Finish = Callable[[Array], tuple[dict[str, float], dict[str, Array]]]
"""Statistics of all images (images, k) -> corpus scores, and scores (images,), by output."""


@dataclass(frozen=True)
class Bound:
    """A metric that is ready to score captions of some images."""

    rows: Rows
    finish: Finish | None = None
    """Scores to the last bit as their authors' program has them, where `pool` only comes near."""
    session: Callable[[], AbstractContextManager[None]] = nullcontext
    """Keeps running what scoring needs between calls; entering does not wait for it."""


Bind = Callable[[Captions, Captions], Bound]
"""(references of the scored images, references of the whole split) -> the metric, bound to them.

Every image has a reference. References as tokens have a word each; as text one may be empty,
which says that the question has no answer."""

Row = Callable[[list[str], str], Sequence[float]]
"""(references of an image, its caption) -> its row of statistics."""


@dataclass(frozen=True, kw_only=True)
class Metric:
    """One metric; describing it costs nothing, its functions import what they need."""

    name: str
    outputs: tuple[str, ...]
    """Keys of the scores."""
    bind: Bind = field(repr=False)
    pool: Pool = field(repr=False)
    alone: bool = True
    """An image's statistics depend on no other image's caption, so that they can be kept."""
    least: int = 1
    """Fewest images whose captions it can tell apart."""
    whole: bool = False
    """It makes use of the references of the whole split where only a part of it is scored."""
    reads: Literal["tokens", "text"] = "tokens"
    """The form that is scored: PTB tokens joined by spaces, or texts as they were written."""
    tasks: tuple[str, ...] = ("captioning",)
    direction: Literal["max", "min"] | None = "max"
    """The better direction; None for a description that has none."""
    high: float = 1.0
    """Largest possible value of each output; the smallest is 0."""

    def compute(self, references: Captions, candidates: Captions) -> dict[str, float]:
        """Return the corpus scores of a single set and keep nothing."""
        bound = self.bind(references, references)
        with bound.session():
            return self.finished(bound, bound.rows(candidates))[0]

    def finished(
        self, bound: Bound, statistics: Array
    ) -> tuple[dict[str, float], dict[str, Array]]:
        """Return the corpus scores and those of each image (images,), by output."""
        if bound.finish:
            return bound.finish(statistics)
        totals = statistics.T.copy().sum(axis=1)  # summed in pairs, as numpy's mean does
        corpus = {output: float(value) for output, value in self.pool(totals).items()}
        return corpus, self.pool(statistics)


def each(row: Row) -> Bind:
    """Return the binding of a metric that needs no more than the image's own references."""

    def bind(references: Captions, whole: Captions) -> Bound:
        return Bound(
            lambda candidates: table(
                row(references[image], text) for image, (text,) in candidates.items()
            )
        )

    return bind


def ratio(output: str) -> Pool:
    """Return the pool of a metric that is one sum over another: that of columns 0 and 1.

    With a second column of ones it is the mean over the images.
    """
    return lambda totals: {output: totals[..., 0] / totals[..., 1]}


def ratio_metric(
    name: str,
    row: Row,
    *,
    reads: Literal["tokens", "text"] = "tokens",
    tasks: tuple[str, ...] = ("captioning",),
    direction: Literal["max", "min"] | None = "max",
    high: float = 1.0,
) -> Metric:
    """Return a metric of one output, the `ratio` of rows made for each image by itself."""
    return Metric(
        name=name,
        outputs=(name,),
        bind=each(row),
        pool=ratio(name),
        reads=reads,
        tasks=tasks,
        direction=direction,
        high=high,
    )


def table(rows: Iterable[Sequence[float]]) -> Array:
    """Return rows of numbers as an array (rows, columns)."""
    import numpy as np  # here, because the catalog must stay light

    return np.array(list(rows), dtype=np.float64)
