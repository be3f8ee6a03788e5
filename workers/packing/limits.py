"""How much of a pack goes into one pass, and how that shrinks when memory runs out."""

from collections.abc import Sequence
from dataclasses import dataclass

from workers.footprint.retreat import Flight, after_failure


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What fits into one pass; None where nothing is known to be too much."""

    rows: int | None = None
    """Most rows of a slot."""
    slots: int | None = None
    """Most slots."""


def smaller(names: Sequence[str], rows: int) -> Limits | None:
    """Return what to try after these slots did not fit with so many rows each.

    First half of the rows, down to one, then half of the slots; None when a single slot with a
    single row was too much.
    """
    # `alone`: no other base leaves the device for the sake of a pack.
    flights = after_failure(Flight(trials=tuple(names), micro_batch=rows, alone=True))
    if not flights:
        return None
    return Limits(rows=flights[0].micro_batch, slots=len(flights[0].trials))
