"""What to do when a pack runs out of memory: a pure state machine.

A flight is some trials that train in one forward. Each failure makes it smaller, in this order:

1. half of the rows of each trial in one forward, at the same effective batch, down to one;
2. half of the trials, the others in a second flight;
3. a single trial alone on the device: the host moves all else off it;
4. nothing is left to try: the trial does not fit on this device.
"""

import math
from dataclasses import dataclass, replace


@dataclass(frozen=True, kw_only=True)
class Flight:
    """Trials that share a forward."""

    trials: tuple[str, ...]
    micro_batch: int
    """Most rows of each trial in one forward."""
    alone: bool = False
    """Whether nothing else is left on the device: no other adapters, no base of another group."""


def after_failure(flight: Flight) -> tuple[Flight, ...]:
    """Return the flights to try in place of one that ran out of memory, one after the other.

    They hold the same trials. Empty when its only trial was alone with one row: it is infeasible.
    """
    if flight.micro_batch > 1:
        return (replace(flight, micro_batch=flight.micro_batch // 2),)
    if len(flight.trials) > 1:
        half = math.ceil(len(flight.trials) / 2)
        first, second = flight.trials[:half], flight.trials[half:]
        return replace(flight, trials=first), replace(flight, trials=second)
    return () if flight.alone else (replace(flight, alone=True),)
