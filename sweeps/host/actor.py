"""The Ray actor around a host: a sweep's trials come to it for their slots and rungs.

Heavy packages are imported inside the actor's process only.
"""

import gc
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from sweeps.host import captions, opening, rung, warming
from sweeps.host.context import SweepContext
from sweeps.host.loop import Course, Desk
from sweeps.host.trial import OpenTrial, failure
from sweeps.quiet import quiet_libraries
from sweeps.results import retention
from sweeps.spec import plugins
from sweeps.storage import copies
from sweeps.trial import FAILED, FULL, Point, Start, trial_id
from workers.redaction import redacted

if TYPE_CHECKING:
    from sweeps.capacity.bases import Files
    from workers.evaluation.scoring import MakeScorer
    from workers.host.host import Host
    from workers.memory.fit import Device
    from workers.memory.footprint import Correction

SPARE_CALLS = 8
"""Calls that a host answers at a time beside those that wait for the rung of a trial."""


class HostActor:
    """One `workers.host.host.Host` of one sweep; becomes an actor by `ray.remote`.

    Its calls may come from several threads at a time; what they have done to the host and its
    trials is done by one thread, see `sweeps.host.loop`.
    """

    def __init__(
        self, context: SweepContext, name: str, make_scorer: "MakeScorer | None" = None
    ) -> None:
        """Take what makes scorers, if not each host is to have its own."""
        # Ray keeps what its processes print.
        sys.stdout, sys.stderr = redacted(sys.stdout), redacted(sys.stderr)
        self._context = context = context.private(name)
        self._name = name
        self._make_scorer = make_scorer
        self._share = context.sweep.resources.gpus_per_host
        with _heavy_imports():
            self._desk = Desk(self._make_host)
        self._host = self._desk.host
        self._trials: dict[str, OpenTrial] = {}
        self._ending = False
        self._waits = plugins.scheduler(context.sweep.schedule.name).PAUSES
        """Whether a slot that is closed may be opened again."""

    def _make_host(self) -> "Host":
        scoring = warming.begin_scoring(self._context, self._make_scorer)
        quiet_libraries()  # torch comes with them, which takes seconds
        from workers.host.host import Host
        from workers.memory import errors

        errors.limit(self._share)
        packing = self._context.sweep.resources.packing == "auto"
        threads, share = self._context.threads, self.share()
        return Host(threads=threads, packing=packing, share=share, scoring=scoring)

    def node(self) -> str:
        """Return the id of Ray's node that this host runs on; a host that ends is gone already."""
        import ray

        if self._ending:
            raise _gone()
        return str(ray.get_runtime_context().get_node_id())

    def share(self) -> "Device":
        """Return what this host may use: of its GPU the share that Ray gave it, or of its node."""
        import torch

        from sweeps.capacity.device import machine_bytes
        from workers.memory.fit import Device

        if torch.cuda.is_available():
            whole = float(torch.cuda.get_device_properties(0).total_memory)
            return Device(gpu=True, bytes=whole * self._share)
        beside = self._context.beside
        return Device(gpu=False, bytes=machine_bytes() / beside, hosts=beside)

    def files(self) -> "Files":
        """Return what the bases' files on this node tell of their size."""
        from sweeps.capacity import bases

        return bases.found(self._context.sweep)

    def correction(self) -> "Correction":
        """Return what was measured so far of the memory of trials, in terms of the estimate."""
        return self._host.correction

    def warm_up(self) -> list[str]:
        """Get ready for the first trial; return lines for the user."""
        return self._desk.do(warming.warm_up, self._context, self._host)

    def open(
        self, number: int, point: Point, start: Start | None = None, opening: str = ""
    ) -> dict[str, Any] | None:
        """Give a trial a slot, which goes on after the rungs on record, else from `start`.

        `opening` is what `close` must say: who gave a waiting trial up may be slower to close its
        slot than the next one is to open it. Returns None, or the result of a trial that cannot
        go on.
        """
        name = trial_id(number)
        return self._desk.do(
            self._guarded, name, lambda: self._open(name, number, point, start, opening)
        )

    def advance(self, number: int) -> dict[str, Any]:
        """Train a trial for one rung and return Tune's result; others may be trained meanwhile."""
        return self._desk.see_through(self._rung(trial_id(number)))

    def close(self, number: int, opening: str = "") -> None:
        """Take a trial's slot away and write its best captions; its snapshots stay.

        A slot that was opened with another word is left alone. A rung in flight is lost.
        """
        self._desk.do(self._close, trial_id(number), opening)

    def shutdown(self) -> None:
        """Write the best captions of the trials that nobody closed; release bases and scorers."""
        self._ending = True
        self._desk.do(self._shut_all)
        self._desk.close()
        copies.forget(self._context.folder.root)

    def _open(self, name: str, number: int, point: Point, start: Start | None, word: str) -> None:
        if name in self._trials:
            self._shut(name)
        opening.take_over(self._context, name, word)
        trial = opening.open_trial(self._context, self._host, self._name, number, point, start)
        trial.opening = word
        self._trials[name] = trial

    def _rung(self, name: str) -> Course[dict[str, Any]]:
        try:
            return (yield from rung.course(self._context, self._host, self._trials[name]))
        except Exception as error:
            return self._ended(name, error)

    def _close(self, name: str, word: str) -> None:
        if name in self._trials and self._trials[name].opening == word:
            self._shut(name)

    def _shut_all(self) -> None:
        for name in list(self._trials):
            # No failure of its trial: whoever goes on with the sweep trains the rung again.
            self._desk.let_go(name, _gone())
        for name in list(self._trials):
            self._shut(name)
        self._host.close()

    def _shut(self, name: str) -> None:
        trial = self._trials.pop(name)
        self._vacate(name)
        if not opening.is_given_up(self._context, trial):
            self._guarded(
                name,
                lambda: captions.log_predictions(self._host, trial, may_wait=self._waits),
            )
        copies.forget(self._context.folder.trial(name))

    def _vacate(self, name: str) -> None:
        """Empty a slot; who waits for its work is told so."""
        self._desk.let_go(name)
        self._host.evict(name)

    def _guarded(self, name: str, work: Callable[[], None]) -> dict[str, Any] | None:
        """Run `work`; return None, or the result of a trial that cannot go on."""
        try:
            work()
        except Exception as error:
            return self._ended(name, error)
        return None

    def _ended(self, name: str, error: Exception) -> dict[str, Any]:
        """Return the result of a trial whose own code raises `error`, and let go of it.

        A retry would raise it again, so it ends the trial. Tune retries what never gets here:
        the death of this process.
        """
        self._trials.pop(name, None)
        self._vacate(name)
        stopped = retention.stops(error, self._context.folder)
        if stopped:
            return {FULL: stopped, FAILED: None, "finished": False}
        return failure(error)


@contextmanager
def _heavy_imports() -> Iterator[None]:
    """Let torch and its kin load in less time, and behave."""
    # Threads that spin while they wait take the cores of their neighbours, a tenfold of the work
    # of a small model.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    # Nothing is compiled here, and what would compile it takes a fifth of all imports.
    os.environ.setdefault("TORCHDYNAMO_DISABLE", "1")
    # Of all that is made, nothing goes: to look for garbage in it takes another seventh.
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def _gone() -> Exception:
    """Return what Ray raises when an actor's process has ended."""
    from ray.exceptions import RayActorError

    return RayActorError(error_msg="the host ends with its sweep")
