"""The Ray actor around a host: a sweep's trials come to it for their slots and rungs.

Heavy packages are imported inside the actor's process only.
"""

import gc
import os
import sys
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING

from sweeps.host import opening
from sweeps.host.context import SweepContext
from sweeps.host.loop import HostCoroutine, HostLoop
from sweeps.host.rung import run_rung
from sweeps.host.trial import OpenTrial, failure
from sweeps.quiet import disable_compilers, heavy_imports, quiet_libraries
from sweeps.results import pictures, retention
from sweeps.rung_result import RungResult
from sweeps.spec import plugins
from sweeps.storage import copies
from sweeps.trial import Point, Start, trial_id
from workers.memory.allocator import expand_segments
from workers.metrics.catalog import blind_objective, too_few_images
from workers.redaction import redacted

if TYPE_CHECKING:
    from sweeps.capacity.memory import Files
    from workers.evaluation.scoring import MakeScorer
    from workers.host.host import Host
    from workers.memory.fit import Device
    from workers.memory.footprint import Correction
    from workers.memory.layers import DataExtent

_WARM_UP = "warm-up"
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
        self._waits = plugins.scheduler(context.sweep.schedule.name).PAUSES
        """Whether a slot that is closed may be opened again."""
        # Threads that spin while they wait take the cores of their neighbours, a tenfold of the
        # work of a small model.
        os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
        expand_segments(os.environ)
        disable_compilers()
        with heavy_imports():
            self._loop = HostLoop(self._make_host)
        # They stay as long as this process: to look through them time and again takes a
        # twentieth of a small base's steps.
        gc.freeze()
        self._host = self._loop.host
        self._trials: dict[str, OpenTrial] = {}
        self._ending = False

    def _make_host(self) -> "Host":
        from workers.evaluation.scoring import Scoring

        # Its scorer begins to load while torch does.
        scoring = Scoring(self._make_scorer) if self._make_scorer else Scoring()
        with suppress(Exception):  # `warm_up` raises it to the user
            scoring.scorer(self._context.sweep.recipe)
        quiet_libraries()  # torch comes with them, which takes seconds
        from workers.host.host import Host
        from workers.memory import errors

        errors.limit(self._share)
        packing = self._context.sweep.resources.packing == "auto"
        threads, share = self._context.threads, self.share()
        return Host(
            threads=threads,
            scoring=scoring,
            packing=packing,
            share=share,
            # On a CPU all cores train, and what always pauses would drop what it trained ahead.
            decoders=decoder_count(threads) if share.gpu else 0,
            train_ahead=share.gpu and not self._waits,
        )

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

        beside = self._context.beside
        machine = machine_bytes() / beside
        if torch.cuda.is_available():
            whole = float(torch.cuda.get_device_properties(0).total_memory)
            return Device(gpu=True, bytes=whole * self._share, machine=machine)
        return Device(gpu=False, bytes=machine, hosts=beside)

    def files(self) -> "Files":
        """Return what the bases' files on this node tell of their size."""
        from sweeps.capacity import memory

        return memory.local_files(self._context.sweep)

    def extent(self) -> "DataExtent":
        """Return the sizes of the data that memory depends on; once `warm_up` has read them."""
        return self._host.extent(self._context.sweep.recipe)

    def correction(self) -> "Correction":
        """Return what was measured so far of the memory of trials, in terms of the estimate."""
        return self._host.correction

    def warm_up(self) -> list[str]:
        """Load data and base and score zero-shot once, so that no trial need wait for that.

        Returns lines for the user: how many images there are, and which were skipped.
        """
        return self._loop.do(self._warm_up)

    def images_prepared(self) -> tuple[int, int]:
        """Return how many images are prepared, of how many, while `warm_up` does so."""
        return self._host.images_prepared

    def open(
        self, number: int, point: Point, start: Start | None = None, fencing_token: str = ""
    ) -> RungResult | None:
        """Give a trial a slot, which goes on after the rungs on record, else from `start`.

        `fencing_token` is the one that `close` must give: a process that gave a waiting trial up
        may be slower to close its slot than the next one is to open it. Returns None, or the result
        of a trial that cannot go on.
        """
        name = trial_id(number)
        return self._loop.do(
            self._guarded, name, lambda: self._open(name, number, point, start, fencing_token)
        )

    def advance(self, number: int) -> RungResult:
        """Train a trial for one rung and return its result; others may be trained meanwhile."""
        return self._loop.run_until_complete(self._rung(trial_id(number)))

    def close(self, number: int, fencing_token: str = "") -> None:
        """Take a trial's slot away and write its best captions; its snapshots stay.

        A slot that was opened with another fencing token is left alone. A rung in flight is lost.
        """
        self._loop.do(self._close, trial_id(number), fencing_token)

    def shutdown(self) -> None:
        """Write the best captions of the trials that are still open; release bases and scorers."""
        self._ending = True
        self._loop.do(self._shut_all)
        self._loop.close()
        copies.forget(self._context.folder.root)

    def _warm_up(self) -> list[str]:
        recipe, host = self._context.sweep.recipe, self._host
        metrics, scored = recipe.evaluate.metrics, host.scored_samples(recipe)
        objectives = [each.metric for each in self._context.sweep.search.objectives]
        if blind := blind_objective(objectives, metrics, len(scored)):
            raise ValueError(blind)
        untrained = host.admit(_WARM_UP, recipe).predictions
        host.evict(_WARM_UP)
        host.prepare(recipe)
        data_set, scored = host.data_set(recipe), host.scored_samples(recipe)
        few = too_few_images(metrics, len(scored))
        pictures.keep(self._context.folder.scored_images, scored, untrained)
        counts = ", ".join(f"{len(part)} {split}" for split, part in data_set.splits.items())
        skipped = (f"skipped: {problem}" for problem in data_set.problems)
        notes = (f"note: {remark}" for remark in (*data_set.remarks, *([few] if few else [])))
        cut = host.cut_captions(recipe)
        return [f"images: {counts}", *skipped, *notes, *([cut] if cut else [])]

    def _open(self, name: str, number: int, point: Point, start: Start | None, token: str) -> None:
        if name in self._trials:
            self._shut(name)
        opening.take_over(self._context, name, token)
        trial = opening.open_trial(self._context, self._host, self._name, number, point, start)
        trial.fencing_token = token
        self._trials[name] = trial

    def _rung(self, name: str) -> HostCoroutine[RungResult]:
        try:
            return (yield from run_rung(self._context, self._host, self._trials[name]))
        except Exception as error:
            return self._ended(name, error)

    def _close(self, name: str, token: str) -> None:
        if name in self._trials and self._trials[name].fencing_token == token:
            self._shut(name)

    def _shut_all(self) -> None:
        for name in list(self._trials):
            # No failure of its trial: the rung is trained again when the sweep is resumed.
            self._loop.cancel(name, _gone())
        for name in list(self._trials):
            self._shut(name)
        self._host.close()

    def _shut(self, name: str) -> None:
        trial = self._trials.pop(name)
        discarded = self._vacate(name)

        def log() -> None:
            if discarded:
                trial.record.log(tags={"trial.discarded_steps": str(discarded)})
            opening.log_predictions(self._host, trial, may_wait=self._waits)

        if not opening.lost_ownership(self._context, trial):
            self._guarded(name, log)
        copies.forget(self._context.folder.trial(name))

    def _vacate(self, name: str) -> int:
        """Empty a slot, and return the steps that it trained ahead; who waits for it is told."""
        self._loop.cancel(name)
        return self._host.evict(name)

    def _guarded(self, name: str, work: Callable[[], None]) -> RungResult | None:
        """Run `work`; return None, or the result of a trial that cannot go on."""
        try:
            work()
        except Exception as error:
            return self._ended(name, error)
        return None

    def _ended(self, name: str, error: Exception) -> RungResult:
        """Return the result of a trial whose own code raises `error`, and let go of it.

        A retry would raise it again, so it ends the trial. Tune retries what never gets here:
        the death of this process.
        """
        self._trials.pop(name, None)
        self._vacate(name)
        stopped = retention.stops(error, self._context.folder)
        return RungResult(disk_full=stopped) if stopped else failure(error)


def decoder_count(cores: int) -> int:
    """Return how many processes decode images for a host with a GPU and so many cores."""
    from workers.features.decoding import MOST_DECODERS

    return max(1, min(cores - 1, MOST_DECODERS))


def _gone() -> Exception:
    """Return what Ray raises when an actor's process has ended."""
    from ray.exceptions import RayActorError

    return RayActorError(error_msg="the host ends with its sweep")
