"""What a person should see of a loaded data set: counts, reasons, copies, sizes. Needs no base."""

import math
import random
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median

from workers.data.sample import DataSet, Sample

MOST_DRAWN = 2000
"""Samples that are looked at closely; of more, as many are drawn."""
_LONGEST = 20
"""Samples with the longest texts, which are looked at, too: they are what is truncated."""
_BARS, _USUAL = 8, 0.95
"""Bars of a histogram; the last one has all values above the share that is usual, too."""
_FIRST = 3
_PLACE = re.compile(r" \((?P<place>[^()]* line \d+)\)$")
_VARYING = re.compile(r"'[^']*'|\"[^\"]*\"|\d[\d.,]*(?<![.,])")
"""What of a reason differs from one sample to the next."""


@dataclass(frozen=True, kw_only=True)
class SplitCounts:
    """What one split has."""

    images: int
    """Distinct ones."""
    samples: int
    """More than images where an image has several questions."""
    captions: int


@dataclass(frozen=True, kw_only=True)
class Reason:
    """Why some samples or rows cannot be used."""

    reason: str
    """Without names and numbers, for which it has ``...``, if it is that of several."""
    count: int
    first: tuple[str, ...]
    """The whole text of the first few, with name and place."""


@dataclass(frozen=True, kw_only=True)
class Bar:
    """How many values are from `least` to `most`, both included."""

    least: int
    most: int
    count: int


@dataclass(frozen=True, kw_only=True)
class Histogram:
    """How often values occur."""

    least: int
    median: float
    most: int
    bars: tuple[Bar, ...]

    @classmethod
    def of(cls, values: Iterable[int]) -> "Histogram | None":
        """Count the values in bars of a round width; None for no values."""
        known = sorted(values)
        if not known:
            return None
        usual = known[min(len(known) - 1, int(_USUAL * len(known)))]
        width = _round_up((usual - known[0] + 1) / _BARS)
        first = known[0] // width
        last = usual // width
        counts = Counter(min(value // width, last) for value in known)
        bars = [
            Bar(least=place * width, most=(place + 1) * width - 1, count=counts[place])
            for place in range(first, last + 1)
        ]
        bars[-1] = Bar(least=last * width, most=max(known[-1], bars[-1].most), count=counts[last])
        middle = float(median(known))
        return cls(least=known[0], median=middle, most=known[-1], bars=tuple(bars))


@dataclass(frozen=True, kw_only=True)
class Survey:
    """What was counted."""

    splits: Mapping[str, SplitCounts]
    overlaps: tuple[str, ...]
    """Images that are in two splits, one line each."""
    copies: tuple[str, ...]
    """Images that lie under several names, one line each."""
    repeated: tuple[str, ...]
    """Ids of samples that have a caption twice."""
    sides: Histogram | None
    """Longer sides of images in pixels; None where no size was read."""

    @classmethod
    def of(cls, data_set: DataSet) -> "Survey":
        """Count what is in a data set."""
        samples = [sample for own in data_set.splits.values() for sample in own]
        by_image: dict[tuple[str | None, str | None], list[Sample]] = defaultdict(list)
        for sample in samples:
            if sample.digest is not None and sample.captions:
                by_image[sample.digest, sample.question].append(sample)
        sizes = {sample.digest: sample.size for sample in samples if sample.size is not None}
        return cls(
            splits={name: _counts(own) for name, own in data_set.splits.items()},
            overlaps=data_set.overlaps,
            copies=tuple(
                " = ".join(sample.id for sample in same)
                for (_, question), same in by_image.items()
                if question is None and len(same) > 1
            ),
            repeated=tuple(
                same[0].id
                for same in by_image.values()
                if max(Counter(text for own in same for text in own.captions).values()) > 1
            ),
            sides=Histogram.of(max(size) for size in sizes.values()),
        )


def reasons(problems: Iterable[str]) -> tuple[Reason, ...]:
    """Return problems by their reason, the most frequent first."""
    alike: dict[str, list[str]] = defaultdict(list)
    for problem in problems:
        reason = _PLACE.sub("", problem.partition(": ")[2] or problem)
        alike[_VARYING.sub("...", reason)].append(problem)
    found = [
        Reason(reason=reason, count=len(own), first=tuple(own[:_FIRST]))
        for reason, own in alike.items()
    ]
    return tuple(sorted(found, key=lambda each: -each.count))


def drawn(samples: Sequence[Sample]) -> list[Sample]:
    """Return the samples that are looked at: all, or some of them and those of the longest texts.

    The same for the same samples.
    """
    if len(samples) <= MOST_DRAWN:
        return list(samples)

    def longest(sample: Sample) -> int:
        return max(map(len, sample.captions), default=0) + len(sample.question or "")

    chosen = random.Random(0).sample(samples, MOST_DRAWN)
    more = sorted(samples, key=longest)[-_LONGEST:]
    return [*{sample.id: sample for sample in (*chosen, *more)}.values()]


def _counts(samples: Sequence[Sample]) -> SplitCounts:
    return SplitCounts(
        images=len({sample.digest or sample.id for sample in samples}),
        samples=len(samples),
        captions=sum(len(sample.captions) for sample in samples),
    )


def _round_up(width: float) -> int:
    """Return the next of 1, 2, 5, 10, 20, ..."""
    power = int(10 ** math.floor(math.log10(max(width, 1))))
    return next(step * power for step in (1, 2, 5, 10) if step * power >= width)
