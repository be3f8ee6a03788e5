"""Why a call gets no captions, and amounts that calls share."""

from collections.abc import Iterator
from contextlib import contextmanager


class CallError(Exception):
    """A call that is not answered with captions; the message is one sentence for its client."""

    def __init__(self, status: int, message: str) -> None:
        """Take the HTTP status that goes with the sentence."""
        super().__init__(message)
        self.status = status


class Quota:
    """An amount that calls share, such as bytes; its last quarter is left to cheap calls."""

    def __init__(self, total: int, cheap: int, what: str) -> None:
        """Take what a cheap call needs at most, and what errors call the amount."""
        self._total = total
        self._cheap = cheap
        self._what = what
        self.taken = 0

    def fits(self, amount: int, held: int = 0) -> bool:
        """Tell whether one who holds `held` of it can have `amount` more."""
        cheap = held + amount <= self._cheap
        return self.taken + amount <= self._total * (1 if cheap else 0.75)

    @contextmanager
    def take(self, amount: int) -> Iterator[None]:
        """Hold an amount as long as the block lasts; raises `CallError` where it does not fit."""
        if not self.fits(amount):
            raise CallError(503, f"too many {self._what} at once; come again in a second")
        self.taken += amount
        try:
            yield
        finally:
            self.taken -= amount
