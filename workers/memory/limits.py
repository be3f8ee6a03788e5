"""What trains at a time since memory ran out, and when more of it is tried again."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from workers.memory import errors
from workers.memory.device import DeviceMemory

PATIENCE = 64
"""Steps that fit before twice as much is tried; twice as many after each try that failed."""


@dataclass(frozen=True, kw_only=True)
class _State:
    """The limits now, and what they come from."""

    freed: int
    """`DeviceMemory.freed` when they were set: with another one they no longer hold."""
    patience: int
    trials: int | None = None
    rows: int | None = None
    tried: tuple[int, int] = (0, 0)
    """The most trials and rows that memory ran out with."""
    fitted: int = 0
    """Steps since then, or since the limits were raised."""
    raised: bool = False
    """Whether the last change was to more."""


class Limits:
    """Most trials of a trainer in one forward, and most rows of each; None where all fit so far.

    When memory runs out, first what is only a cache leaves the device; then half of the rows are
    tried, at the same effective batch, down to one; then half of the trials. Nothing stays small
    for good: a rare long caption passes, and so does memory in pieces. After some steps that fit,
    twice as much is tried, and all of it at once when a trial or a base has left the host.
    """

    def __init__(self, memory: DeviceMemory) -> None:
        self._memory = memory
        self._state = _State(freed=memory.freed, patience=PATIENCE)

    @property
    def trials(self) -> int | None:
        """Most trials in one forward."""
        return self._current().trials

    @property
    def rows(self) -> int | None:
        """Most rows of each trial in one forward."""
        return self._current().rows

    def rows_of(self, names: Sequence[str], wanted: int) -> int:
        """Return the rows of each of these trials: as `DeviceMemory.rows`, within the limit."""
        planned = self._memory.rows(names, wanted)
        return min(planned, self.rows or planned)

    def retreat(self, trials: int, rows: int) -> bool:
        """Make the next try smaller than this one, which ran out of memory.

        False where nothing is left to make smaller: one trial with one row does not fit.
        """
        errors.release()
        if self._memory.make_room():
            return True
        now = self._current()
        self._state = now = replace(
            now,
            tried=(max(now.tried[0], trials), max(now.tried[1], rows)),
            patience=now.patience * (2 if now.raised else 1),
            fitted=0,
            raised=False,
        )
        if rows > 1:
            self._state = replace(now, rows=rows // 2)
        elif trials > 1:
            self._state = replace(now, trials=math.ceil(trials / 2), rows=1)
        else:
            return False
        return True

    def fitted(self) -> None:
        """Count a step that fit, and let the next one be larger when there were enough of them."""
        now = self._current()
        if now.trials is None and now.rows is None:
            return
        self._state = replace(now, fitted=now.fitted + 1)
        if self._state.fitted < now.patience:
            return
        if now.trials is not None:
            now = replace(now, trials=_doubled(now.trials, now.tried[0]))
        elif now.rows is not None:
            now = replace(now, rows=_doubled(now.rows, now.tried[1]))
        self._state = replace(now, fitted=0, raised=True)

    def _current(self) -> _State:
        if self._state.freed != self._memory.freed:
            self._state = _State(freed=self._memory.freed, patience=PATIENCE)
        return self._state


def _doubled(limit: int, tried: int) -> int | None:
    """Return twice the limit; None where that is all that was ever tried."""
    return 2 * limit if 2 * limit < tried else None
