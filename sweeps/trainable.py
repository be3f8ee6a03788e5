"""Tune's view of a trial: a thin class that asks the trial's host to do the work.

No torch here: the process of a Trainable only forwards calls, and is reused for the next
trial.
"""

import contextlib
import secrets
import time
from typing import Any

import ray
from ray import tune

from sweeps import record
from sweeps.context import FAILED, FULL, Start, SweepContext, trial_id

_CLOSE_SECONDS = 60.0
_PAUSE_SECONDS = 0.5


class TrialTrainable(tune.Trainable):
    """One trial. ``config`` holds number, point, the name of the host, and what to begin from."""

    _rung: int
    _opened: bool
    _opening: str

    def setup(self, config: dict[str, Any], context: SweepContext) -> None:  # type: ignore[override]
        """Remember the trial; its slot is opened by the first step."""
        self._context = context
        self._take(config)

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """Become the next trial in the same process."""
        self._release()
        self._take(new_config)
        return True

    def step(self) -> dict[str, Any]:
        """Advance one rung; an error of the trial itself comes back as a result."""
        failure = None if self._opened else self._open()
        result = failure or self._next()
        if result.get(FULL):
            self._release()  # whoever goes on does so from the record
        self._rung = int(result.get("rung", self._rung))
        self._ended = bool(result[FAILED] or record.is_over(result))
        return {**result, "done": self._ended, "trial": trial_id(self._number)}

    def save_checkpoint(self, checkpoint_dir: str) -> dict[str, Any]:
        """Return the last rung that Tune has heard of; the host keeps the snapshots."""
        return {"rung": self._rung}

    def load_checkpoint(self, checkpoint: dict[str, Any] | None) -> None:
        """Go on after the last rung that Tune has heard of."""
        self._rung = checkpoint["rung"] if checkpoint else 0

    def cleanup(self) -> None:
        """Give the slot back."""
        self._release()

    def _take(self, config: dict[str, Any]) -> None:
        self._number: int = config["number"]
        self._point: dict[str, Any] = config["point"]
        self._start = Start(**config["start"]) if config.get("start") else None
        self._host = ray.get_actor(config["host"])
        self._rung = 0
        self._opened = False
        self._ended = False
        self._past: list[dict[str, Any]] = []

    def _open(self) -> dict[str, Any] | None:
        self._opening = secrets.token_hex(8)
        opening: Any = self._host.open.remote(self._number, self._point, self._start, self._opening)
        failure: dict[str, Any] | None = ray.get(opening)
        self._opened = failure is None
        if self._opened:
            recorded = record.read(self._context.folder, trial_id(self._number))
            self._past = [result for result in recorded if result["rung"] > self._rung]
        return failure

    def _next(self) -> dict[str, Any]:
        """Return the next rung: from the record if it is there, otherwise by training."""
        return self._past.pop(0) if self._past else self._advance()

    def _advance(self) -> dict[str, Any]:
        while self._context.folder.paused.exists():
            time.sleep(_PAUSE_SECONDS)
        advancing: Any = self._host.advance.remote(self._number)
        result: dict[str, Any] = ray.get(advancing)
        return result

    def _release(self) -> None:
        if self._opened:
            self._opened = False
            # Waited for: a call whose caller has died may never be carried out.
            with contextlib.suppress(ray.exceptions.RayError):
                ray.get(
                    self._host.close.remote(self._number, self._opening), timeout=_CLOSE_SECONDS
                )
