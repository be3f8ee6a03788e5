"""Fidelity of rungs: how well they predict final scores, measured on a sweep's unpruned trials.

A scheduler that stops trials at a rung assumes that those which are worse there would be worse in
the end. Spearman's rank correlation of a rung's objective with the final best one measures this.
Everything is computed from the trials' records, so a resumed sweep comes to the same result.
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
"""By default one in `SHARE` trials is unpruned, at most `MOST`."""
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
    """The correlations measured on a sweep's unpruned trials, and the grace that follows."""

    correlations: tuple[Correlation, ...]
    """Of each rung at which at least `FEWEST` trials had an objective."""
    schedule: Schedule
    """That of the sweep file."""
    grace: int
    """The grace from then on."""

    def __str__(self) -> str:
        written, threshold = self.schedule.grace, self.schedule.correlation
        first = next(each for each in self.correlations if each.rung >= written)
        found = (
            f"rung {first.rung} predicted the final order of {first.trials} unpruned trials with "
            f"rank correlation {first.value:.2f} (80 % interval {first.low:.2f} to "
            f"{first.high:.2f})"
        )
        if self.grace > written:
            return f"{found}, below {threshold:g}: schedule.grace was raised to {self.grace}"
        if first.value < threshold:
            return f"{found}: too few to say that it is below {threshold:g}"
        return f"{found}: schedule.grace {written} stays"


def unpruned_trials(sweep: Sweep) -> tuple[str, ...]:
    """Return the names of a sweep's first trials, which no scheduler stops."""
    scheduler = plugins.scheduler(sweep.schedule.name)
    if not scheduler.STOPS or scheduler.PAUSES:
        return ()
    count = sweep.schedule.unpruned
    if count is None:
        share = min(MOST, sweep.search.trials // SHARE)
        count = share if share >= FEWEST else 0
    return tuple(map(trial_id, range(count)))


def read(sweep: Sweep, folder: SweepFolder, over: Collection[str]) -> Fidelity | None:
    """Return what a sweep's records show; None before all unpruned trials are `over`."""
    names = unpruned_trials(sweep)
    if not set(names) <= set(over):
        return None
    rungs = [record.read(folder, trial) for trial in names]
    return measure(rungs, sweep.schedule, sweep.most_epochs)


def measure(
    trials: Sequence[Sequence[RungResult]], schedule: Schedule, epochs: int
) -> Fidelity | None:
    """Return what the rungs of the unpruned trials show; None if the trials are too few."""
    ended = [rungs for rungs in trials if rungs and rungs[-1].finished]
    complete = [(rungs, best) for rungs in ended if (best := rungs[-1].best) is not None]
    if len(complete) < FEWEST or len({final for _, final in complete}) == 1:
        return None
    correlations = []
    every = [(one, final) for rungs, final in complete for one in rungs]
    for rung in range(1, epochs + 1):
        there = [(one.score, final) for one, final in every if one.rung == rung]
        pairs = [(score, final) for score, final in there if score is not None]
        if (count := len(pairs)) < FEWEST:
            continue
        value = spearman(*zip(*pairs, strict=True))
        # The interval by Fisher's transformation, its variance after Fieller (1957).
        reach = _TAIL * math.sqrt(1.06 / (count - 3))
        middle = math.atanh(max(-1.0, min(1.0, value)) * (1 - 1e-12))
        low, high = math.tanh(middle - reach), math.tanh(middle + reach)
        correlations.append(Correlation(rung=rung, trials=count, value=value, low=low, high=high))
    later = [each for each in correlations if each.rung >= schedule.grace]
    if not later:
        return None
    grace, threshold = schedule.grace, schedule.correlation
    # A correlation of few trials is mostly noise: only a certainly too low one raises the grace.
    if later[0].high < threshold:
        grace = next((each.rung for each in later if each.value >= threshold), epochs)
    return Fidelity(correlations=tuple(correlations), schedule=schedule, grace=grace)


def spearman(one: Sequence[float], other: Sequence[float]) -> float:
    """Return Spearman's rank correlation, ties at their mean rank; 0 where all are equal."""
    from scipy.stats import spearmanr  # here: importing it takes a second

    if len(set(one)) == 1 or len(set(other)) == 1:
        return 0.0
    return float(spearmanr(one, other).statistic)
