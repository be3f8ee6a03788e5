"""The driver: one sweep from its file to its leaderboard, on Ray Tune."""

from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext, suppress
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from sweeps.board import leaderboard, standings
from sweeps.board.leaderboard import Leaderboard
from sweeps.driver.search import search
from sweeps.driver.signals import STOPS
from sweeps.fleet import cluster
from sweeps.results import changes, inbox, lease, retention
from sweeps.results.folder import SweepFolder
from sweeps.spec import starts
from sweeps.spec.files import located
from sweeps.spec.load import Sweep
from sweeps.spec.problems import refused
from sweeps.spec.storage_checks import refuse_unfit
from sweeps.storage import claims, places
from sweeps.study import warm_start
from sweeps.study.study import enqueue, prepare_study, push
from sweeps.tracking import access
from sweeps.tracking.client import Tracking
from sweeps.tracking.connection import AwayError
from sweeps.tracking.pending import waiting
from sweeps.tracking.sweep_run import SweepRun


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What a sweep left."""

    folder: SweepFolder
    tracking: Tracking
    run: SweepRun
    leaderboard: Leaderboard
    tracked: bool
    """Whether MLflow has all of it; what only MLflow can add to the leaderboard is missing else."""
    interrupted: bool


def run(sweep: Sweep, root: Path, console: Console, resume: str | None = None) -> Outcome:
    """Run a sweep, or go on with the one called `resume`.

    Ctrl-C and SIGTERM stop it cleanly: what was reported is kept and the sweep can go on.
    Raises `RefusedError` for what a user can fix before the first trial; ValueError or OSError
    for what turns up later.
    """
    sweep = located(sweep)
    with refused():
        refuse_unfit(sweep, places.address_of(root))
        _knock(sweep, root)
        if warning := cluster.check():
            console.print(warning, style="yellow", soft_wrap=True)
        claims.arrive(root)
        folder = SweepFolder.find(root, resume) if resume else SweepFolder.create(root, sweep.name)
    with lease.held(folder):
        return _run(sweep, folder, console, resuming=resume is not None)


def _run(sweep: Sweep, folder: SweepFolder, console: Console, *, resuming: bool) -> Outcome:
    tracking = Tracking(
        uri=sweep.tracking.uri, experiment=sweep.tracking.experiment, root=folder.root
    )
    with refused():
        _prepare(sweep, folder, console, resuming=resuming)
        changes.keep(folder, sweep)
        inbox.unpause(folder)
        console.print(f"{folder.sweep_id} in {places.shown(folder.path)}", style="bold")
        parent = _start(folder, tracking)
    parent.publisher.publish(again=True)
    try:
        interrupted = search(sweep, folder, parent, console)
    except BaseException as error:
        told, stopped = retention.stops(error, folder), isinstance(error, STOPS)
        with suppress(Exception) if told else nullcontext():
            _conclude(sweep, folder, parent, "interrupted" if stopped else "failed")
        if told:
            raise OSError(told) from error
        raise
    board, tracked = _conclude(sweep, folder, parent, "interrupted" if interrupted else "completed")
    return Outcome(
        folder=folder, tracking=tracking, run=parent, leaderboard=board, tracked=tracked,
        interrupted=interrupted,
    )  # fmt: skip


def _knock(sweep: Sweep, root: Path) -> None:
    """Reach the experiment on a server before anything is made here; raises OSError, ValueError."""
    uri, experiment = sweep.tracking.uri, sweep.tracking.experiment
    if uri is not None:
        with access.explained(uri):
            Tracking(uri=uri, experiment=experiment, root=root.absolute()).experiment_id()


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


def _start(folder: SweepFolder, tracking: Tracking) -> SweepRun:
    """Start Ray and open the sweep's run side by side: each takes seconds."""
    with ThreadPoolExecutor(max_workers=1) as pool:
        opening = pool.submit(SweepRun.open, tracking, folder.sweep_id, folder.spec.read_text(), {})
        cluster.connect()
        with access.explained(tracking.address):
            return opening.result()


def _conclude(
    sweep: Sweep, folder: SweepFolder, parent: SweepRun, state: str
) -> tuple[Leaderboard, bool]:
    """End the sweep's run with its leaderboard as a note; say whether MLflow has all of it."""
    folder.refresh()
    parent.publisher.publish(again=True)
    parent.close_running()
    board = leaderboard.read(sweep, folder, driven=False)
    tracked = not waiting(folder).count
    if tracked:
        try:
            board = parent.line.attempt(lambda _: standings.tracked(parent, board))
        except AwayError:
            tracked = False
    winner = board.winner
    parent.close(
        state,  # type: ignore[arg-type]
        best_trial=winner.name if winner else None,
        best={f"val/{name}": value for name, value in winner.best.items()} if winner else {},
        note=leaderboard.markdown(board),
    )
    return board, tracked and not waiting(folder).count
