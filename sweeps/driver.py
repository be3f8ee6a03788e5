"""The driver: one sweep from its file to its leaderboard, on Ray Tune."""

import signal
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from types import FrameType

from ray import tune
from rich.console import Console

from sweeps import (
    access,
    changes,
    cluster,
    control,
    disk,
    leaderboard,
    lease,
    record,
    schedulers,
    starts,
    warm_start,
)
from sweeps.admission import Admission
from sweeps.board import Board
from sweeps.bridge import OptunaBridge
from sweeps.budget import Spent, refuse
from sweeps.callback import Follow
from sweeps.context import EXAMPLE_IMAGES, SweepContext, trial_number
from sweeps.controller import Controller
from sweeps.files import located
from sweeps.fleet.ending import EndHosts
from sweeps.fleet.follow import FollowCluster
from sweeps.fleet.hosts import HURRY_SECONDS, Hosts
from sweeps.fleet.starting import beside_driver
from sweeps.front_view import FRONT
from sweeps.leaderboard import Leaderboard
from sweeps.leaderboard_view import publish_view
from sweeps.live import view
from sweeps.objective_checks import refuse_unmeasured
from sweeps.paths import SweepFolder
from sweeps.population.tracked import LINEAGE
from sweeps.problems import refused
from sweeps.remarks import remarks
from sweeps.resources import refuse_cpu
from sweeps.spec import Sweep
from sweeps.spool.board import current
from sweeps.spool.sync import send
from sweeps.spool.waiting import waiting
from sweeps.stopping import StopAsked
from sweeps.storage import claims, copies, places
from sweeps.storage.checks import refuse_unfit
from sweeps.study import ended, enqueue, open_study, prepare_study, push, wanted
from sweeps.supervise import Supervise
from sweeps.sweep_run import SweepRun
from sweeps.sweep_scheduler import SweepScheduler
from sweeps.tracking import Tracking
from sweeps.trainable import TrialTrainable
from workers import tiny

STOPS = (KeyboardInterrupt, SystemExit)
"""What Ctrl-C and SIGTERM raise while hosts begin, and for the second time; afterwards they are
Tune's."""
RETRIES = 3
"""How often a trial whose processes died goes on from its last snapshot."""


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What a sweep left."""

    folder: SweepFolder
    tracking: Tracking
    run: SweepRun
    leaderboard: Leaderboard
    tracked: bool
    """Whether MLflow has all of it; otherwise the leaderboard is that of the records."""
    interrupted: bool


def run(sweep: Sweep, root: Path, console: Console, resume: str | None = None) -> Outcome:
    """Run a sweep, or go on with the one called `resume`.

    Ctrl-C and SIGTERM stop it cleanly: what was reported is kept and the sweep can go on.
    Raises `RefusedError` for what a person can mend before the first trial; ValueError or OSError
    for what turns up later.
    """
    sweep = located(sweep)
    with refused():
        refuse_unfit(sweep, places.address_of(root))
        _knock(sweep, root)
        claims.arrive(root)
        folder = SweepFolder.find(root, resume) if resume else SweepFolder.create(root, sweep.name)
    with lease.held(folder):
        return _run(sweep, folder, console, resuming=resume is not None)


def _run(sweep: Sweep, folder: SweepFolder, console: Console, *, resuming: bool) -> Outcome:
    tracking = Tracking(
        uri=sweep.tracking.uri, experiment=sweep.tracking.experiment, root=folder.root,
        spool=folder.spool,
    )  # fmt: skip
    with refused():
        _prepare(sweep, folder, console, resuming=resuming)
        changes.keep(folder, sweep)
        control.unpause(folder)
        console.print(f"{folder.sweep_id} in {places.shown(folder.path)}", style="bold")
        parent = _start(folder, tracking)
    send(parent, folder)
    try:
        interrupted = _search(sweep, folder, parent, console)
    except BaseException as error:
        told, stopped = disk.stops(error, folder), isinstance(error, STOPS)
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
    """Check the study, mend it, and put into it what the search begins with."""
    try:
        study, wider = prepare_study(sweep, folder, resuming=resuming)
        for point in starts.points(sweep):
            enqueue(study, point)
        for line in (*wider, *warm_start.begin(study, sweep, folder.root)):
            console.print(line)
    except (OSError, ValueError):
        if not resuming:
            copies.drop(folder.path)
        raise
    push(sweep, folder)


def _start(folder: SweepFolder, tracking: Tracking) -> SweepRun:
    """Start Ray and open the sweep's run side by side: each takes seconds."""
    with ThreadPoolExecutor(max_workers=1) as pool:
        opening = pool.submit(SweepRun.open, tracking, folder.sweep_id, folder.spec.read_text(), {})
        cluster.connect()
        with access.explained(tracking.address):
            return opening.result()


def _search(sweep: Sweep, folder: SweepFolder, parent: SweepRun, console: Console) -> bool:
    """Run all trials; return whether somebody stopped the sweep before its end."""
    with refused():
        plan = cluster.cluster_layout(sweep)
        refuse_cpu(sweep.resources, plan)
        refuse(sweep, plan)
        refuse_unmeasured(sweep, plan)
    context = SweepContext(
        sweep=sweep, folder=folder, tracking=parent.tracking,
        parent_run_id=parent.run_id, threads=plan.threads, storage=places.address_of(folder.root),
    )  # fmt: skip
    if sweep.model.base in tiny.BASES and not tiny.is_cached(sweep.model.base):
        console.print(f"building {sweep.model.base}, once, about half a minute")
    say = partial(console.print, soft_wrap=True)
    with refused():
        hosts = Hosts(context, gpu=bool(plan.gpus_per_host), say=say)
    try:
        _publish_view(sweep, folder, parent)
        with refused():
            said = hosts.start()
        for line in said:
            console.print(line)
        spent = Spent.open(
            folder, sweep.search.budget, folder.trials(),
            gpus_per_host=sweep.resources.gpus_per_host,
        )  # fmt: skip
        board = _board(sweep, folder, spent)
        over = _recover(sweep, folder, parent, board)
        bridge = OptunaBridge(sweep, folder)
        if need := hosts.needs():
            bridge.fit(need, hosts.largest_gpu)
        with view(board, console) as screen:
            controller = Controller(sweep, folder, bridge.add, board, parent, say)
            bridge.poll = controller.poll
            controller.poll()
            if not bridge.is_over:
                follow = Follow(board, screen, parent, folder)
                supervise = Supervise(sweep, folder, board, bridge, controller.poll, say)
                callbacks = [EndHosts(hosts), FollowCluster(hosts), follow, supervise]
                _tune(context, hosts.slots, bridge, callbacks, over, spent)
        if bridge.exhausted:
            board.trials = len(board.rows)
        if bridge.exhausted and not board.interrupted:
            console.print(f"all {board.trials} points of the space were tried: the sweep ends")
        return board.interrupted
    except STOPS:
        hosts.stop(HURRY_SECONDS)
        raise
    finally:
        hosts.stop()


def _tune(
    context: SweepContext,
    slots: Callable[[], int],
    bridge: OptunaBridge,
    callbacks: list[tune.Callback],
    over: Sequence[str],
    spent: Spent,
) -> None:
    """Run the trials that are not `over`, as many at a time as there are `slots`.

    None of Tune's own state is read back.
    """
    sweep, folder = context.sweep, context.folder
    past = {trial: record.read(folder, trial) for trial in over}
    with signals_stop_tune():
        tune.run(
            tune.with_parameters(TrialTrainable, context=context),
            name=folder.tune.name,
            **places.place_of_tune(folder.path),
            num_samples=-1,  # the bridge says when it is over: trials may be added
            stop=StopAsked(folder),
            search_alg=Admission(bridge, slots, spent),
            scheduler=SweepScheduler(sweep, spent, slots, past, lambda: bridge.more_to_come),
            resources_per_trial=beside_driver(),
            max_concurrent_trials=slots(),  # Admission is what counts
            reuse_actors=True,
            max_failures=RETRIES,
            raise_on_failed_trial=False,
            checkpoint_config=tune.CheckpointConfig(checkpoint_frequency=1),
            callbacks=callbacks,
            verbose=0,
        )


def _publish_view(sweep: Sweep, folder: SweepFolder, parent: SweepRun) -> None:
    publish_view(
        parent.tracking,
        folder.sweep_id,
        parent.run_id,
        list(sweep.search.space),
        logarithmic=sweep.logarithmic_fields(),
        objective=sweep.search.objective.metric,
        mode=sweep.search.objective.mode,
        metrics=list(dict.fromkeys([*sweep.search.quantities, *sweep.outputs()]))[1:],
        conditional=[path for path, domain in sweep.search.space.items() if domain.when],
        examples={f"examples/{number}": sweep.train.epochs for number in range(EXAMPLE_IMAGES)},
        tags=_tags(sweep),
    )


def _tags(sweep: Sweep) -> list[str]:
    """Return the tags of trials that only some sweeps have."""
    front = [FRONT] if len(sweep.search.objectives) > 1 else []
    limits = ["trial.violates"] if sweep.search.constraints else []
    lineage = [LINEAGE] if schedulers.module(sweep.schedule.name).CHANGES else []
    return [*front, *limits, *lineage]


def _board(sweep: Sweep, folder: SweepFolder, spent: Spent) -> Board:
    objective = sweep.search.objective
    return Board(
        sweep_id=folder.sweep_id,
        objective=objective.metric,
        mode=objective.mode,
        trials=wanted(sweep, folder),
        epochs=sweep.most_epochs,
        further=sweep.search.objectives[1:],
        spent=spent,
    )


def _recover(sweep: Sweep, folder: SweepFolder, parent: SweepRun, board: Board) -> list[str]:
    """Return the trials that are over by the study, and let tracking and screen agree with it."""
    over = ended(open_study(sweep, folder))
    for name, (state, reason) in over.items():
        parent.close_trial(name, state, reason)
    found, _ = current(sweep, folder, parent)
    for entry in found.entries:
        if entry.trial in over:
            board.recover(
                trial_number(entry.trial), entry.title, entry.state, entry.rungs,
                entry.best.get(board.objective),
                bests=found.values(entry), violates=entry.violates,
            )  # fmt: skip
    return list(over)


def _conclude(
    sweep: Sweep, folder: SweepFolder, parent: SweepRun, state: str
) -> tuple[Leaderboard, bool]:
    """End the sweep's run with its leaderboard as a note; say whether MLflow has all of it."""
    folder.refresh()
    send(parent, folder)
    parent.close_running()
    board, tracked = current(sweep, folder, parent)
    board = replace(board, remarks=remarks(sweep, folder, board))
    winner = board.winner
    parent.close(
        state,  # type: ignore[arg-type]
        best_trial=winner.trial if winner else None,
        best={f"val/{name}": value for name, value in winner.best.items()} if winner else {},
        note=leaderboard.markdown(board),
    )
    return board, tracked and not waiting(folder).count


@contextmanager
def signals_stop_tune() -> Iterator[None]:
    """Let SIGTERM stop Tune as cleanly as Ctrl-C does; Tune has no handler for it.

    Afterwards Ctrl-C is what it was before: Tune leaves its own handler, which no one reads then.
    """

    def interrupt(number: int, frame: FrameType | None) -> None:
        signal.raise_signal(signal.SIGINT)

    try:
        before = signal.signal(signal.SIGTERM, interrupt)
        ctrl_c = signal.getsignal(signal.SIGINT)
    except ValueError:  # not the main thread: whoever embeds the driver handles signals
        yield
        return
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
        signal.signal(signal.SIGINT, ctrl_c)
