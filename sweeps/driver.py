"""The driver: one sweep from its file to its leaderboard, on Ray Tune."""

import shutil
import signal
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

from ray import tune
from rich.console import Console

from sweeps import cluster, leaderboard, record, schedulers, starts, warm_start
from sweeps.board import Board
from sweeps.bridge import OptunaBridge
from sweeps.callback import Follow
from sweeps.context import EXAMPLE_IMAGES, SweepContext, trial_number
from sweeps.files import located
from sweeps.fleet import Fleet
from sweeps.leaderboard import Leaderboard
from sweeps.leaderboard_view import publish_view
from sweeps.live import view
from sweeps.paths import SweepFolder
from sweeps.resources import Layout
from sweeps.spec import Sweep, dump
from sweeps.study import ended, enqueue, open_study, prepare_study
from sweeps.sweep_run import SweepRun
from sweeps.tracking import Tracking
from sweeps.trainable import TrialTrainable
from workers import tiny

RETRIES = 3
"""How often a trial whose processes died goes on from its last snapshot."""


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What a sweep left."""

    folder: SweepFolder
    tracking: Tracking
    run: SweepRun
    leaderboard: Leaderboard
    interrupted: bool


def run(sweep: Sweep, root: Path, console: Console, resume: str | None = None) -> Outcome:
    """Run a sweep, or go on with the one called `resume`.

    Ctrl-C and SIGTERM stop it cleanly: what was reported is kept and the sweep can go on.
    Raises ValueError or OSError for what a person can mend.
    """
    sweep = located(sweep)
    folder = SweepFolder.find(root, resume) if resume else SweepFolder.create(root, sweep.name)
    _prepare(sweep, folder, console, resuming=resume is not None)
    folder.spec.write_text(dump(sweep))
    tracking = Tracking(
        uri=sweep.tracking.uri, experiment=sweep.tracking.experiment, root=root.absolute()
    )
    console.print(f"{folder.sweep_id} in {folder.path}", style="bold")
    parent = _start(folder, tracking)
    try:
        interrupted = _search(sweep, folder, parent, console, resuming=resume is not None)
    except BaseException:
        _conclude(sweep, parent, "failed")
        raise
    board = _conclude(sweep, parent, "interrupted" if interrupted else "completed")
    return Outcome(
        folder=folder, tracking=tracking, run=parent, leaderboard=board, interrupted=interrupted
    )


def _prepare(sweep: Sweep, folder: SweepFolder, console: Console, *, resuming: bool) -> None:
    """Check the study, mend it, and put into it what the search begins with."""
    try:
        study, wider = prepare_study(sweep, folder, resuming=resuming)
        for point in starts.points(sweep):
            enqueue(study, point)
        for line in (*wider, *warm_start.begin(study, sweep, folder.root)):
            console.print(line)
    except (OSError, ValueError):
        if not resuming:
            shutil.rmtree(folder.path)
        raise


def _start(folder: SweepFolder, tracking: Tracking) -> SweepRun:
    """Start Ray and open the sweep's run side by side: each takes seconds."""
    with ThreadPoolExecutor(max_workers=1) as pool:
        opening = pool.submit(SweepRun.open, tracking, folder.sweep_id, folder.spec.read_text(), {})
        cluster.connect()
        return opening.result()


def _search(
    sweep: Sweep, folder: SweepFolder, parent: SweepRun, console: Console, *, resuming: bool
) -> bool:
    """Run all trials; return whether somebody stopped the sweep before its end."""
    plan = cluster.cluster_layout(sweep)
    context = SweepContext(
        sweep=sweep, folder=folder, tracking=parent.tracking,
        parent_run_id=parent.run_id, threads=plan.threads,
    )  # fmt: skip
    if sweep.model.base in tiny.BASES and not tiny.is_cached(sweep.model.base):
        console.print(f"building {sweep.model.base}, once, about half a minute")
    actors = hosts = cluster.start_hosts(context, plan)
    try:
        _publish_view(sweep, folder, parent)
        actors = [*hosts, *cluster.start_scorers(context, hosts)]
        warming = [host.warm_up.remote() for host in hosts]
        for line in cluster.results(warming)[0]:
            console.print(line)
        board = _board(sweep, folder)
        over = _recover(sweep, folder, parent, board)
        with view(board, console) as screen:
            if len(over) < sweep.search.trials:
                exhausted = _tune(context, plan, Follow(board, screen, parent, folder), over)
                board.trials = len(board.rows) if exhausted else board.trials
        if board.trials < sweep.search.trials and not board.interrupted:
            console.print(f"all {board.trials} points of the space were tried: the sweep ends")
        return board.interrupted
    finally:
        cluster.stop(actors)


def _tune(context: SweepContext, plan: Layout, callback: Follow, over: Sequence[str]) -> bool:
    """Run the trials that are not `over`; none of Tune's own state is read back.

    Returns whether the space has no more points.
    """
    sweep, folder = context.sweep, context.folder
    scheduler = _scheduler(sweep, record.in_order(folder, over))
    names = cluster.host_names(context, plan.hosts)
    bridge = OptunaBridge(sweep, folder, Fleet(hosts=names))
    with _sigterm_as_ctrl_c():
        tune.run(
            tune.with_parameters(TrialTrainable, context=context),
            name=folder.tune.name,
            storage_path=str(folder.path),
            num_samples=sweep.search.trials - len(over),
            search_alg=bridge,
            scheduler=scheduler,
            # Tune refuses a trial without any resource.
            resources_per_trial={"cpu": 0.001},
            max_concurrent_trials=plan.concurrent_trials,
            reuse_actors=True,
            max_failures=RETRIES,
            raise_on_failed_trial=False,
            checkpoint_config=tune.CheckpointConfig(checkpoint_frequency=1),
            callbacks=[callback],
            verbose=0,
        )
    return bridge.exhausted


def _scheduler(sweep: Sweep, past: Iterable[tuple[str, record.Result]]) -> Any:
    """Return the sweep's scheduler, which knows the rungs of the trials that are over."""
    scheduler = schedulers.make(
        sweep.schedule.name,
        mode=sweep.search.objective.mode,
        epochs=sweep.most_epochs,
        grace=sweep.schedule.grace,
        reduction=sweep.schedule.reduction,
    )
    schedulers.remember(scheduler, past)
    return scheduler


def _publish_view(sweep: Sweep, folder: SweepFolder, parent: SweepRun) -> None:
    publish_view(
        parent.tracking,
        folder.sweep_id,
        parent.run_id,
        list(sweep.search.space),
        logarithmic=sweep.logarithmic_fields(),
        objective=sweep.search.objective.metric,
        mode=sweep.search.objective.mode,
        metrics=[name for name in sweep.outputs() if name != sweep.search.objective.metric],
        conditional=[path for path, domain in sweep.search.space.items() if domain.when],
        examples={f"examples/{number}": sweep.train.epochs for number in range(EXAMPLE_IMAGES)},
    )


def _board(sweep: Sweep, folder: SweepFolder) -> Board:
    objective = sweep.search.objective
    return Board(
        sweep_id=folder.sweep_id,
        objective=objective.metric,
        mode=objective.mode,
        trials=sweep.search.trials,
        epochs=sweep.most_epochs,
    )


def _recover(sweep: Sweep, folder: SweepFolder, parent: SweepRun, board: Board) -> list[str]:
    """Return the trials that are over by the study, and let tracking and screen agree with it."""
    over = ended(open_study(sweep, folder))
    for name, (state, reason) in over.items():
        parent.close_trial(name, state, reason)
    for entry in leaderboard.read(parent, sweep.search.objective).entries:
        if entry.trial in over:
            best = entry.best.get(board.objective)
            board.recover(trial_number(entry.trial), entry.title, entry.state, entry.rungs, best)
    return list(over)


def _conclude(sweep: Sweep, parent: SweepRun, state: str) -> Leaderboard:
    """End the sweep's run with its leaderboard as a note."""
    parent.close_running()
    board = leaderboard.read(parent, sweep.search.objective)
    winner = board.winner
    parent.close(
        state,  # type: ignore[arg-type]
        best_trial=winner.trial if winner else None,
        best={f"val/{name}": value for name, value in winner.best.items()} if winner else {},
        note=leaderboard.markdown(board),
    )
    return board


@contextmanager
def _sigterm_as_ctrl_c() -> Iterator[None]:
    """Let SIGTERM stop Tune as cleanly as Ctrl-C does; Tune has no handler for it."""

    def interrupt(number: int, frame: FrameType | None) -> None:
        signal.raise_signal(signal.SIGINT)

    try:
        before = signal.signal(signal.SIGTERM, interrupt)
    except ValueError:  # not the main thread: whoever embeds the driver handles signals
        yield
        return
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
