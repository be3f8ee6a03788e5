"""Tune's view of a trial: a thin class that forwards the work to the trial's host.

Its process only forwards calls, and is reused for the next trial. There are as many as trials at a
time, so it imports next to nothing beside Tune: no torch, and not the sweep's file.
"""

import contextlib
import os
import secrets
import time
from dataclasses import replace
from typing import Any

import ray
from ray import tune

from sweeps.fleet.placement import fleet_name
from sweeps.results import record
from sweeps.results.folder import SweepFolder
from sweeps.rung_result import RungResult
from sweeps.storage import places
from sweeps.trial import ACKNOWLEDGED, Start, trial_id

_CLOSE_SECONDS = 60.0
_PAUSE_SECONDS = 0.5
TRIALS = "trials"
"""Working copy of the processes of trials on a node: they only read, and each its own trial."""
_LOST_SECONDS = 60.0
"""Ray gives a node that its network cut off half a minute before it is lost."""
_ANSWER_SECONDS = 5.0
_ENDING_SECONDS = 2.0
"""So long after the fleet of a sweep has gone, Tune is ending too and calls no trial any more."""


class TrialTrainable(tune.Trainable):
    """One trial. ``config`` holds its number, point, base, need of memory, and what to begin from.

    Where it is trained is between the sweep's fleet and itself: when its host leaves the cluster
    it resumes on another one, without Tune's knowledge. Tune saves nothing of it: the last rung
    that Tune has acknowledged is in ``config``, see `sweeps.driver.callbacks.KeepAcknowledged`.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        os.environ["RAY_CHDIR_TO_TRIAL_DIR"] = "0"  # Tune's own argument for it is gone
        super().__init__(*args, **kwargs)

    def setup(  # type: ignore[override]
        self, config: dict[str, Any], folder: SweepFolder, storage: str | None
    ) -> None:
        """Remember the trial; its slot is opened by the first step.

        `storage` is the address of the object store in which the results live, if they do.
        """
        self._folder = replace(folder, root=places.working(storage or folder.root, TRIALS))
        self._take(config)

    def _take(self, config: dict[str, Any]) -> None:
        self._number: int = config["number"]
        self._point: dict[str, Any] = config["point"]
        self._base: str = config["base"]
        self._start = Start(**config["start"]) if config.get("start") else None
        self._need: float = config["need"]
        self._acknowledged: int = config.get(ACKNOWLEDGED, 0)
        self._fleet = ray.get_actor(fleet_name(self._folder.sweep_id))
        self._placed: str | None = None
        self._opened = False
        self._past: list[RungResult] = []

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """Become the next trial in the same process."""
        self.cleanup()
        self._take(new_config)
        return True

    def step(self) -> dict[str, Any]:
        """Advance one rung; an error of the trial itself comes back as a result.

        Raises what Ray raises when the host's process died: Tune counts that, and tries again.
        """
        result: RungResult | None = None
        while result is None:
            try:
                result = (None if self._opened else self._open()) or self._next()
            except ray.exceptions.RayError as error:
                of_ray = isinstance(error, ray.exceptions.RayActorError)  # also what a host raises
                if isinstance(error, ray.exceptions.RayTaskError) and not of_ray:
                    raise
                if not self._host_has_left():
                    raise
                self._placed, self._opened = None, False
        if result.disk_full:
            self.cleanup()  # it resumes from the record
        # At the next step, perhaps on another host, it knows that Tune has got this one.
        if result.is_rung:
            self._acknowledged = result.rung
        ended = bool(result.failed) or result.is_last
        return {**result.to_json(), "done": ended, "trial": trial_id(self._number)}

    def cleanup(self) -> None:
        """Give the slot back."""
        if self._opened:
            self._opened = False
            # Waited for: a call whose caller has died may never be carried out.
            with contextlib.suppress(ray.exceptions.RayError):
                closing: Any = self._host.close.remote(self._number, self._opening)
                ray.get(closing, timeout=_CLOSE_SECONDS)
        if self._placed:
            self._fleet.release.remote(self._number, self._placed)
            self._placed = None

    def _host_has_left(self) -> bool:
        """Wait until the host is out of the fleet, or answers again; return whether it is out."""
        deadline = time.monotonic() + _LOST_SECONDS
        while time.monotonic() < deadline:
            try:
                if not ray.get(self._fleet.has.remote(self._placed)):
                    return True
            except ray.exceptions.RayActorError:
                time.sleep(_ENDING_SECONDS)  # else Tune reports a stopped sweep as a failed trial
                raise
            with contextlib.suppress(ray.exceptions.RayError):
                ray.get(self._host.node.remote(), timeout=_ANSWER_SECONDS)
                return False
            time.sleep(_PAUSE_SECONDS)
        return False

    def _open(self) -> RungResult | None:
        """Open a slot, after waiting for a place; return why the trial cannot begin, or None.

        While nodes are missing there may be fewer places than trials.
        """
        while self._placed is None:
            place: Any = self._fleet.place
            host: str | None = ray.get(place.remote(self._number, self._need, self._base))
            try:
                self._host = ray.get_actor(host or "")
                self._placed = host
            except ValueError:  # no slot is free, or its node has just left
                time.sleep(_PAUSE_SECONDS)
        self._opening = secrets.token_hex(8)
        opening: Any = self._host.open.remote(self._number, self._point, self._start, self._opening)
        failure: RungResult | None = ray.get(opening)
        self._opened = failure is None
        if self._opened:
            recorded = record.latest(self._folder, trial_id(self._number))
            self._past = [one for one in recorded if one.rung > self._acknowledged]
        return failure

    def _next(self) -> RungResult:
        """Return the next rung: from the record if it is there, otherwise by training."""
        if self._past:
            return self._past.pop(0)
        while self._folder.holds(self._folder.paused):
            ray.get(self._fleet.has.remote(self._placed))  # raises when the sweep ends meanwhile
            time.sleep(_PAUSE_SECONDS)
        advance: Any = self._host.advance
        result: RungResult = ray.get(advance.remote(self._number))
        return result
