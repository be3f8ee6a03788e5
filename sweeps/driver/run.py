"""The driver: one sweep from its file to its leaderboard, on Ray Tune."""

import importlib
import os
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import nullcontext, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import ray
from rich.console import Console

from sweeps.board import leaderboard, standings
from sweeps.board.handle import SweepHandle
from sweeps.board.leaderboard import Leaderboard
from sweeps.capacity import adapted
from sweeps.capacity.memory import local_files
from sweeps.capacity.unfit import refuse_unfit_models
from sweeps.driver.signals import STOPS
from sweeps.fleet import cluster
from sweeps.quiet import heavy_imports
from sweeps.results import changes, inbox, lease, retention
from sweeps.results.folder import SweepFolder
from sweeps.spec import starts
from sweeps.spec.load import Sweep, located
from sweeps.spec.problems import refused
from sweeps.spec.storage import refuse_unfit
from sweeps.storage import claims, places
from sweeps.study import warm_start
from sweeps.study.study import enqueue, prepare_study, push
from sweeps.tracking import errors
from sweeps.tracking.client import Tracking
from sweeps.tracking.connection import AwayError
from sweeps.tracking.sources import waiting
from sweeps.tracking.sweep_run import SweepRun
from sweeps.trial import Ending

if TYPE_CHECKING:
    from sweeps.fleet.hosts import Hosts


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What a sweep left."""

    handle: SweepHandle
    leaderboard: Leaderboard
    tracked: bool
    """Whether MLflow has all of it; what only MLflow can add to the leaderboard is missing else."""
    interrupted: bool


def run(sweep: Sweep, root: Path, console: Console, resume: str | None = None) -> Outcome:
    """Run a sweep, or resume the one called `resume`.

    Ctrl-C and SIGTERM stop it cleanly: everything reported is kept and the sweep can be resumed.
    Raises `RefusedError` for what a user can fix before the first trial; ValueError or OSError
    for what turns up later.
    """
    sweep = located(sweep)
    tracking = Tracking(uri=sweep.tracking.uri, experiment=sweep.tracking.experiment, root=root)
    with refused():
        refuse_unfit(sweep, places.address_of(root))
        _check_server(tracking)
        files = local_files(sweep)
        adapted.refuse(sweep, files)
        refuse_unfit_models(sweep, files)
        if warning := cluster.check():
            console.print(warning, style="yellow", soft_wrap=True)
        claims.fetch_sweep_files(root)
        folder = SweepFolder.find(root, resume) if resume else SweepFolder.create(root, sweep.name)
    with lease.held(folder):
        with refused():
            _prepare(sweep, folder, console, resuming=resume is not None)
            changes.keep(folder, sweep)
            inbox.unpause(folder)
            console.print(f"{folder.sweep_id} in {places.shown(folder.path)}", style="bold")
            sweep_run, hosts = _start(sweep, folder, replace(tracking, root=folder.root), console)
        handle = SweepHandle(sweep=sweep, folder=folder, run=sweep_run)
        try:
            from sweeps.driver.search import search

            interrupted = search(handle, hosts, console)
        except BaseException as error:
            reason = retention.stops(error, folder)
            with suppress(Exception) if reason else nullcontext():
                _conclude(handle, "interrupted" if isinstance(error, STOPS) else "failed")
            if reason:
                raise OSError(reason) from error
            raise
        board, tracked = _conclude(handle, "interrupted" if interrupted else "completed")
    return Outcome(handle=handle, leaderboard=board, tracked=tracked, interrupted=interrupted)


def _check_server(tracking: Tracking) -> None:
    """Reach the experiment on a server before anything is made here; raises OSError, ValueError."""
    if tracking.uri is not None:
        with errors.explained(tracking.uri):
            replace(tracking, root=tracking.root.absolute()).experiment_id()


def _prepare(sweep: Sweep, folder: SweepFolder, console: Console, *, resuming: bool) -> None:
    """Check the study, repair it, and put into it what the search begins with."""
    try:
        study, wider = prepare_study(sweep, folder, resuming=resuming)
        for point in starts.points(sweep):
            enqueue(study, point)
        for line in (*wider, *warm_start.add_earlier_trials(study, sweep, folder.root)):
            console.print(line)
    except (OSError, ValueError):
        if not resuming:
            folder.remove(folder.path)
        raise
    push(sweep, folder)


def _start(
    sweep: Sweep, folder: SweepFolder, tracking: Tracking, console: Console
) -> "tuple[SweepRun, Future[Hosts]]":
    """Start Ray and hosts, and open the sweep's run beside them: each takes seconds."""
    hosts: Future[Hosts] | None = None
    try:
        with ThreadPoolExecutor(max_workers=2) as pool:
            opening = pool.submit(_open, folder, tracking)
            if not ray.is_initialized():
                address = os.environ.get("RAY_ADDRESS") or "local"
                line = "starting Ray" if address == "local" else f"joining Ray at {address}"
                console.print(line, markup=False)
            cluster.connect()
            hosts = pool.submit(_begin_hosts, sweep, folder, console)
            with errors.explained(tracking.address):
                return opening.result(), hosts
    except BaseException:
        if hosts is not None:
            from sweeps.driver.search import end_hosts

            end_hosts(hosts)
        raise


def _open(folder: SweepFolder, tracking: Tracking) -> SweepRun:
    """Open the sweep's run; import Tune first, which the hosts need, while Ray starts."""
    with heavy_imports():
        from sweeps.driver import search  # noqa: F401

        importlib.import_module("mlflow")
    return SweepRun.open(tracking, folder.sweep_id, folder.spec.read_text(), {})


def _begin_hosts(sweep: Sweep, folder: SweepFolder, console: Console) -> "Hosts":
    from sweeps.driver.search import begin_hosts

    return begin_hosts(sweep, folder, console)


def _conclude(handle: SweepHandle, state: Ending) -> tuple[Leaderboard, bool]:
    """End the sweep's run with its leaderboard as a note; say whether MLflow has all of it."""
    folder, run = handle.folder, handle.run
    folder.refresh()
    run.publisher.publish(again=True)
    run.close_running()
    board = leaderboard.read(handle.sweep, folder, driven=False)
    # A driver that was killed may have ended a trial, and not have removed its snapshots.
    over = frozenset(trial.name for trial in board.trials if not trial.is_open)
    retention.prune(handle.sweep, folder, over)
    tracked = not waiting(folder).count
    if tracked:
        try:
            board = run.connection.attempt(lambda _: standings.add_runs(run, board))
        except AwayError:
            tracked = False
    winner = board.winner
    run.close(
        state,
        best_trial=winner.name if winner else None,
        best={f"val/{name}": value for name, value in winner.best.items()} if winner else {},
        note=leaderboard.markdown(board),
    )
    return board, tracked and not waiting(folder).count
