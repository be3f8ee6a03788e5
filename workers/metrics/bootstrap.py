"""Confidence intervals of scores and of their differences: the bootstrap over images.

A resample has as many images as there are, sampled with replacement (Efron and Tibshirani 1993,
chapters 6 and 13). It is a row of weights, how often each image was sampled; weights times the
statistics per image are the sums from which a metric's `pool` makes its scores, so nothing is
scored again. Sets of captions are compared on the same resamples (the paired bootstrap of Koehn
2004), where what makes an image hard for both cancels out.

CIDEr's document frequencies stay those of all images: its values per image are what is resampled.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from workers.metrics.metric import Array, Pool
from workers.metrics.scorer import Scored

Pools = Mapping[str, Pool]
"""Metric -> its `pool`, in the order in which the outputs are to come."""

RESAMPLES = 10_000
CONFIDENCE = 0.95
_BLOCK = 500_000  # weights held at once: 4 MB


@dataclass(frozen=True)
class Interval:
    """A score over all images, and the ends of its confidence interval."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Difference(Interval):
    """One score minus another, with its confidence interval."""

    p: float
    """Two-sided: twice the share of resamples in which the difference has the rarer sign."""

    @property
    def significant(self) -> bool:
        """Whether the interval leaves out 0."""
        return self.low > 0 or self.high < 0


@dataclass(frozen=True, kw_only=True)
class Resampled:
    """The scores of one set of captions, on its images and on every resample of them."""

    values: Mapping[str, float]
    """Output -> score over all images."""
    samples: Mapping[str, Array] = field(repr=False)
    """Output -> score of each resample, (resamples,)."""

    def interval(self, output: str, confidence: float = CONFIDENCE) -> Interval:
        """Return the percentile interval of a score."""
        low, high = _percentiles(self.samples[output], confidence)
        return Interval(self.values[output], low, high)

    def minus(self, other: "Resampled", output: str, confidence: float = CONFIDENCE) -> Difference:
        """Return the difference to captions that were resampled in the same call."""
        samples = self.samples[output] - other.samples[output]
        low, high = _percentiles(samples, confidence)
        rarer = int(min(np.count_nonzero(samples <= 0), np.count_nonzero(samples >= 0)))
        # plus 1: the captions at hand are one more resample, so that p is never 0
        p = min(1.0, 2 * (rarer + 1) / (len(samples) + 1))
        return Difference(self.values[output] - other.values[output], low, high, p)


def interval(
    scored: Scored, pools: Pools, resamples: int = RESAMPLES, confidence: float = CONFIDENCE
) -> dict[str, Interval]:
    """Return the interval of every output of the metrics in `pools`; raises as `resample`."""
    (one,) = resample([scored], pools, resamples)
    return {output: one.interval(output, confidence) for output in one.values}


def paired(
    one: Scored,
    other: Scored,
    pools: Pools,
    resamples: int = RESAMPLES,
    confidence: float = CONFIDENCE,
    seed: int = 0,
) -> dict[str, Difference]:
    """Return ``one - other`` for every output of the metrics in `pools`; raises as `resample`."""
    first, second = resample([one, other], pools, resamples, seed)
    return {output: first.minus(second, output, confidence) for output in first.values}


def resample(
    sets: Sequence[Scored], pools: Pools, resamples: int = RESAMPLES, seed: int = 0
) -> list[Resampled]:
    """Score every set of captions on the same resamples of their images.

    The weights are sampled once for all sets and metrics. The images of the sets may come in any
    order. Raises ValueError when they are not the same or fewer than two, and for statistics
    that are missing, of another length, or not finite.
    """
    ids = sets[0].ids
    if len(ids) < 2:
        raise ValueError(f"a bootstrap needs at least two images, got {len(ids)}")
    for other in sets[1:]:
        lone = sorted(set(ids) ^ set(other.ids))
        if lone:
            raise ValueError(
                f"only captions of the same images can be compared, not of {len(ids)} and "
                f"{len(other.ids)} images with {len(lone)} in one of them only, such as {lone[0]!r}"
            )
    tables = [_table(each, pools, ids) for each in sets]
    blocks: list[list[dict[str, Array]]] = [[] for _ in sets]
    for sampled in weights(len(ids), resamples, seed):
        for table, pooled in zip(tables, blocks, strict=True):
            pooled.append(_pool(sampled, table, pools))
    wholes = [_pool(np.ones((1, len(ids))), table, pools) for table in tables]
    return [
        Resampled(
            values={output: float(value[0]) for output, value in whole.items()},
            samples={output: np.concatenate([one[output] for one in pooled]) for output in whole},
        )
        for whole, pooled in zip(wholes, blocks, strict=True)
    ]


def weights(images: int, resamples: int, seed: int) -> Iterator[Array]:
    """Yield how often each image is sampled, in blocks of (some of the resamples, images).

    By counting sampled images, which is several times faster than `Generator.multinomial`.
    """
    generator = np.random.default_rng(seed)
    most = max(1, _BLOCK // images)
    for start in range(0, resamples, most):
        rows = min(most, resamples - start)
        sampled = generator.integers(0, images, size=(rows, images))
        sampled += images * np.arange(rows)[:, None]
        counts = np.bincount(sampled.ravel(), minlength=rows * images)
        yield counts.reshape(rows, images).astype(np.float64)


def _pool(sampled: Array, table: tuple[Array, list[int]], pools: Pools) -> dict[str, Array]:
    """Return output -> scores (rows,) of the weights (rows, images)."""
    statistics, ends = table
    # One product for all metrics. The same table gives the same bits, whatever set it is of.
    totals = np.split(sampled @ statistics, ends, axis=1)
    scores: dict[str, Array] = {}
    for pool, part in zip(pools.values(), totals, strict=True):
        scores |= pool(part)
    return scores


def _table(scored: Scored, pools: Pools, ids: tuple[str, ...]) -> tuple[Array, list[int]]:
    """Return statistics (images in the order of `ids`, columns of all metrics), and their ends.

    Those are the columns at which one metric ends and the next one begins.
    """
    parts = []
    for name in pools:
        if name not in scored.statistics:
            there = ", ".join(scored.statistics)
            raise ValueError(f"no statistics of the metric {name!r}; there are those of {there}")
        statistics = np.asarray(scored.statistics[name], dtype=np.float64)
        if statistics.ndim != 2 or len(statistics) != len(scored.ids):
            raise ValueError(
                f"statistics of {name} must be of shape ({len(scored.ids)} images, k), "
                f"got {statistics.shape}"
            )
        bad = np.flatnonzero(~np.isfinite(statistics).all(axis=1))
        if bad.size:
            image = scored.ids[bad[0]]
            raise ValueError(f"statistics of {name} are not finite for image {image!r}")
        parts.append(statistics)
    row = {image: number for number, image in enumerate(scored.ids)}
    ends = np.cumsum([part.shape[1] for part in parts])[:-1].tolist()
    return np.concatenate(parts, axis=1)[[row[image] for image in ids]], ends


def _percentiles(samples: Array, confidence: float) -> tuple[float, float]:
    if not 0 < confidence < 1:
        raise ValueError(f"confidence must be between 0 and 1, got {confidence}")
    low, high = np.quantile(samples, [(1 - confidence) / 2, (1 + confidence) / 2])
    return float(low), float(high)
