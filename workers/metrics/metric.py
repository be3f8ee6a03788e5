"""The description of one metric: what it yields, and the functions that compute it.

Scoring has three steps. `Metric.bind` prepares what depends on the references alone, once. What
it returns turns captions into statistics, one row per image, which are kept as long as a caption
may come back. `Metric.pool` turns sums of rows into scores: one row into that of an image, the
sum over all images into that of the corpus, a weighted sum into that of a resample.
"""

from collections.abc import Callable, Mapping
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


@dataclass(frozen=True, kw_only=True)
class Bound:
    """A metric that is ready to score captions of some images."""

    rows: Rows
    finish: Finish | None = None
    """Scores to the last bit as their authors' program has them, where `pool` only comes near."""
    session: Callable[[], AbstractContextManager[None]] = nullcontext
    """Holds what scoring needs running between calls; entering does not wait for it."""


Bind = Callable[[Captions, Captions], Bound]
"""(references of the scored images, references of the whole split) -> the metric, bound to them.

Every image has a reference. References as tokens have a word each; as text one may be empty,
which says that the question has no answer."""


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
    whole: bool = False
    """It makes use of the references of the whole split where only a part of it is scored."""
    reads: Literal["tokens", "text"] = "tokens"
    """What is scored: PTB tokens joined by spaces, or texts as they were written."""
    tasks: tuple[str, ...] = ("captioning",)
    direction: Literal["max", "min"] | None = "max"
    """Which way is better; None for a description that has no better way."""
    low: float = 0.0
    """Smallest possible value of each output."""
    high: float = 1.0
    """Largest possible value of each output."""

    def compute(self, references: Captions, candidates: Captions) -> dict[str, float]:
        """Return the corpus scores and keep nothing: the plain way, for a single set."""
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
