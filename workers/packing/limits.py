"""How much of a pack goes into one pass."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class PassLimits:
    """What fits into one pass since memory ran out; None where it did not."""

    rows: int | None = None
    """Most rows of a slot."""
    slots: int | None = None
    """Most slots."""
