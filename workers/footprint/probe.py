"""Correction of the estimate by what the first rungs really took.

On a GPU the peak is `torch.cuda.max_memory_allocated`, which counts tensors alone. On a CPU there
is no such number: the resident size of a process holds what was freed, and never shrinks. So
nothing is corrected there.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from workers.footprint.footprint import Footprint

LEAST = 0.5
"""No correction goes below: the rungs so far may have had short captions only."""


@dataclass(frozen=True, kw_only=True)
class Probe:
    """One rung on a GPU."""

    estimated: Footprint
    """Of the host with the slots that it had then."""
    peak: float
    """Most bytes of tensors at a time."""

    @property
    def factor(self) -> float:
        """Measured by estimated bytes of what is no weight."""
        own = self.estimated
        moving = max(own.activations + own.logits, own.generation)
        return max(0.0, self.peak - own.base - own.adapter) / moving if moving else 1.0


def correction(probes: Iterable[Probe]) -> float:
    """Return by what to multiply later estimates, see `Footprint.scaled`; 1 without a probe.

    The largest factor counts: too little is estimated only once.
    """
    factors = [probe.factor for probe in probes]
    return max(LEAST, *factors) if factors else 1.0
