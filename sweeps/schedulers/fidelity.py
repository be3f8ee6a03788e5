"""How well rungs predict final scores: measured on a sweep's first trials, which nobody stops.

A scheduler that stops trials at a rung supposes that those which are worse there would be worse
in the end. Spearman's rank correlation of a rung's objective with the final best one says how far
that holds. All of it follows from the trials' records, so a resumed sweep comes to the same.
"""

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from sweeps.results import record
from sweeps.results.folder import SweepFolder
from sweeps.rung_result import RungResult
from sweeps.spec import plugins
from sweeps.spec.sweep import FEWEST, Schedule, Sweep
from sweeps.trial import trial_id

SHARE, MOST = 16, 8
"""Unless the sweep says so, one in `SHARE` trials is left to run to its end, at most `MOST`."""
_TAIL = 1.2816  # standard deviations; the interval between both tails is that of 80 %


@dataclass(frozen=True, kw_only=True)
class Correlation:
    """Spearman's rank correlation of one rung with the final scores."""

    rung: int
    trials: int
    value: float
    low: float
    high: float
    """Ends of the 80 % interval."""


@dataclass(frozen=True, kw_only=True)
class Fidelity:
    """What the unpruned trials of a sweep showed."""

    correlations: tuple[Correlation, ...]
    """Of each rung at which at least `FEWEST` trials had an objective."""
    threshold: float
    written: int
    """The grace of the sweep file."""
    grace: int
    """The grace that the sweep went on with."""

    def __str__(self) -> str:
        """Say in a sentence or two what was found and what came of it."""
        first = next(each for each in self.correlations if each.rung >= self.written)
        found = (
            f"rung {first.rung} predicted the final order of {first.trials} unpruned trials with "
            f"rank correlation {first.value:.2f} (80 % interval {first.low:.2f} to "
            f"{first.high:.2f})"
        )
        if self.grace > self.written:
            return f"{found}, below {self.threshold:g}: schedule.grace was raised to {self.grace}"
        if first.value < self.threshold:
            return f"{found}: too few to say that it is below {self.threshold:g}"
        return f"{found}: schedule.grace {self.written} stays"


def unpruned(sweep: Sweep) -> int:
    """Return how many of a sweep's first trials no scheduler stops."""
    scheduler = plugins.scheduler(sweep.schedule.name)
    if not scheduler.STOPS or scheduler.PAUSES:
        return 0
    if sweep.schedule.unpruned is not None:
        return sweep.schedule.unpruned
    share = min(MOST, sweep.search.trials // SHARE)
    return share if share >= FEWEST else 0


def first_trials(sweep: Sweep) -> tuple[str, ...]:
    """Return the names of the trials that run unpruned."""
    return tuple(map(trial_id, range(unpruned(sweep))))


def read(sweep: Sweep, folder: SweepFolder, over: Collection[str]) -> Fidelity | None:
    """Return what a sweep's records show; None before all unpruned trials are `over`."""
    first = first_trials(sweep)
    if not set(first) <= set(over):
        return None
    rungs = [record.read(folder, trial) for trial in first]
    return measured(rungs, sweep.schedule, sweep.most_epochs)


def measured(
    trials: Sequence[Sequence[RungResult]], schedule: Schedule, epochs: int
) -> Fidelity | None:
    """Return what the rungs of the unpruned trials show; None where they are too few to tell."""
    ended = [
        rungs for rungs in trials if rungs and rungs[-1].finished and rungs[-1].best is not None
    ]
    final = [rungs[-1].best or 0.0 for rungs in ended]
    if len(ended) < FEWEST or len(set(final)) == 1:
        return None
    correlations = tuple(
        each
        for rung in range(1, epochs + 1)
        if (each := _correlation(rung, ended, final)) is not None
    )
    if not any(each.rung >= schedule.grace for each in correlations):
        return None
    return Fidelity(
        correlations=correlations,
        threshold=schedule.correlation,
        written=schedule.grace,
        grace=_grace(correlations, schedule, epochs),
    )


def _grace(correlations: Sequence[Correlation], schedule: Schedule, epochs: int) -> int:
    """Return the first trustworthy rung where the grace is not; otherwise the grace."""
    later = [each for each in correlations if each.rung >= schedule.grace]
    # A correlation of few trials is mostly noise: only one that is surely too low is acted on.
    if later[0].high >= schedule.correlation:
        return schedule.grace
    return next((each.rung for each in later if each.value >= schedule.correlation), epochs)


def _correlation(
    rung: int, trials: Sequence[Sequence[RungResult]], final: Sequence[float]
) -> Correlation | None:
    pairs = [
        (values[rung], best)
        for values, best in zip(map(_objectives, trials), final, strict=True)
        if rung in values
    ]
    if len(pairs) < FEWEST:
        return None
    value = spearman(*zip(*pairs, strict=True))
    return Correlation(rung=rung, trials=len(pairs), value=value, **_interval(value, len(pairs)))


def _objectives(rungs: Sequence[RungResult]) -> dict[int, float]:
    return {one.rung: one.score for one in rungs if one.score is not None}


def spearman(one: Sequence[float], other: Sequence[float]) -> float:
    """Return Spearman's rank correlation, ties at their mean rank; 0 where all are equal."""
    from scipy.stats import spearmanr  # here: importing it takes a second

    if len(set(one)) == 1 or len(set(other)) == 1:
        return 0.0
    return float(spearmanr(one, other).statistic)


def _interval(value: float, trials: int) -> dict[str, float]:
    """Return the 80 % interval by Fisher's transformation, its variance after Fieller (1957)."""
    reach = _TAIL * math.sqrt(1.06 / (trials - 3))
    middle = math.atanh(max(-1.0, min(1.0, value)) * (1 - 1e-12))
    return {"low": math.tanh(middle - reach), "high": math.tanh(middle + reach)}
