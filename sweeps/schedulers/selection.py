"""When trials of a population are compared, and what comes of it: one frozen value."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Selection:
    """The terms of a population."""

    first: int
    """First rung at which trials are compared."""
    interval: int
    """Rungs from one comparison to the next."""
    epochs: int
    """Rungs of each trial; at the last one nobody is compared."""
    quantile: float
    """Share of the trials that take over the state of as many of the best."""
    resample: float
    """Probability that a field is drawn anew instead of perturbed."""
    fields: tuple[str, ...] | None
    """What may change; None is every swept field that can change in mid-training."""

    def compares_at(self, rung: int) -> bool:
        """Tell whether trials wait for each other after a rung."""
        return self.first <= rung < self.epochs and (rung - self.first) % self.interval == 0
