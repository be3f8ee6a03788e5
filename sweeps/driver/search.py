"""The search of a sweep: hosts that train, Tune that runs the trials, Optuna's points."""

from collections.abc import Callable, Sequence
from concurrent.futures import Future
from contextlib import suppress
from functools import partial

from ray import tune
from ray.tune.execution import class_cache
from rich.console import Console

from sweeps.board import view as mlflow_view
from sweeps.board.handle import SweepHandle
from sweeps.capacity.layout import refuse_missing_gpus
from sweeps.capacity.unfit import refuse_gpu_attention
from sweeps.driver.callbacks import Follow, KeepAcknowledged, StopRequested, Supervise
from sweeps.driver.controller import Controller
from sweeps.driver.live import view
from sweeps.driver.progress import Progress
from sweeps.driver.signals import STOPS, signals_stop_tune
from sweeps.fleet import cluster
from sweeps.fleet.hosts import INTERRUPTED_SECONDS, FollowCluster, Hosts
from sweeps.fleet.starting import beside_driver
from sweeps.fleet.trainable import TrialTrainable
from sweeps.host.context import SweepContext
from sweeps.results import record
from sweeps.results.budget import Spent
from sweeps.results.folder import SweepFolder
from sweeps.schedulers.sweep_scheduler import SweepScheduler
from sweeps.spec.load import Sweep
from sweeps.spec.problems import refused
from sweeps.storage import places
from sweeps.study.searcher import OptunaBridge
from sweeps.study.trials import trial_states
from sweeps.tracking.connection import AwayError
from workers.models import builtin

RETRIES = 3
"""How often a trial whose processes died resumes from its last snapshot."""


def begin_hosts(sweep: Sweep, folder: SweepFolder, console: Console) -> Hosts:
    """Begin to start a sweep's hosts, and return them at once.

    Raises ValueError or OSError for what a user can fix.
    """
    plan = cluster.cluster_layout(sweep)
    refuse_missing_gpus(sweep, plan)
    if not plan.gpus_per_host:
        refuse_gpu_attention(sweep)
    storage = places.address_of(folder.root)
    context = SweepContext(sweep=sweep, folder=folder, threads=plan.threads, storage=storage)
    say = partial(console.print, soft_wrap=True)
    hosts = Hosts(context, gpu=bool(plan.gpus_per_host), notify=say)
    try:
        hosts.begin()
    except BaseException:
        hosts.stop()
        raise
    if sweep.model.base in builtin.BASES and not builtin.is_cached(sweep.model.base):
        console.print(f"building {sweep.model.base}, once, about half a minute")
    return hosts


def end_hosts(beginning: Future[Hosts]) -> None:
    """End hosts that `begin_hosts` was to begin, for a sweep that cannot go on."""
    with suppress(Exception):
        beginning.result().stop(INTERRUPTED_SECONDS)


def search(handle: SweepHandle, beginning: Future[Hosts], console: Console) -> bool:
    """Run all trials on hosts that have begun; return whether the sweep was stopped before its end.

    Raises `RefusedError` for what a user can fix before the first trial.
    """
    with refused():
        hosts = beginning.result()
    try:
        handle.run.publisher.publish(again=True)
        if mlflow_view.is_saved(handle.sweep):
            mlflow_view.publish(handle.sweep, handle.run)
        else:
            text = "the installed MLflow's UI cannot show the leaderboard view: links open all runs"
            console.print(text, soft_wrap=True)
        with refused():
            lines = hosts.wait()
        for line in lines:
            console.print(line)
        progress = _run_trials(handle, hosts, console)
    except STOPS:
        hosts.stop(INTERRUPTED_SECONDS)
        raise
    finally:
        hosts.stop()
    return progress.interrupted


def _run_trials(handle: SweepHandle, hosts: Hosts, console: Console) -> Progress:
    """Run all trials on hosts that are ready."""
    sweep, folder, run = handle.sweep, handle.folder, handle.run
    say = partial(console.print, soft_wrap=True)
    share = sweep.resources.gpus_per_host
    spent = Spent(folder, sweep.search.budget, folder.trials(), gpus_per_host=share)
    progress = Progress.of(sweep, folder, spent)
    over = [trial for trial in trial_states(sweep, folder).values() if not trial.is_open]
    for trial in over:
        run.close_trial(trial.name, trial.state, trial.reason)  # type: ignore[arg-type]
    with suppress(AwayError):
        run.fetch_scores([trial.name for trial in over])
    progress.recover(over)
    bridge = OptunaBridge(sweep, folder)
    if need := hosts.needs():
        bridge.fit(need, hosts.largest_gpu)
    with run.publisher.running(), view(progress, console) as screen:
        controller = Controller(handle, bridge.add, progress, say)
        bridge.poll = controller.poll
        controller.poll()
        if not bridge.is_over:
            follow = Follow(handle, progress, screen)
            supervise = Supervise(handle, progress, bridge, controller.poll, say)
            callbacks = [FollowCluster(hosts), follow, supervise]
            names = [trial.name for trial in over]
            tune_trials(hosts.context, hosts.slots, bridge, callbacks, names, spent)
    if bridge.exhausted:
        progress.wanted = len(progress.trials)
        if not progress.interrupted:
            console.print(f"search space exhausted: all {progress.wanted} of its points were run")
    return progress


def tune_trials(
    context: SweepContext,
    slots: Callable[[], int],
    bridge: OptunaBridge,
    callbacks: Sequence[tune.Callback],
    over: Sequence[str],
    spent: Spent,
) -> None:
    """Run the trials that are not `over`, as many at a time as there are `slots`.

    None of Tune's own state is read back.
    """
    sweep, folder = context.sweep, context.folder
    past = {trial: record.read(folder, trial) for trial in over}
    bridge.slots, bridge.spent = slots, spent
    # Tune would give its processes an environment of their own: Ray writes it into command lines
    # and logs, credentials of the driver among it, and starts such a process in two steps.
    class_cache.DEFAULT_ENV_VARS, class_cache.ENV_VARS_TO_PROPAGATE = {}, set()
    with signals_stop_tune():
        tune.run(
            tune.with_parameters(TrialTrainable, folder=folder, storage=context.storage),
            name=folder.tune.name,
            **places.place_of_tune(folder.path),
            num_samples=-1,  # the bridge says when it is over: trials may be added
            stop=StopRequested(folder),
            search_alg=bridge,
            scheduler=SweepScheduler(sweep, spent, slots, past, lambda: bridge.more_to_come),
            resources_per_trial=beside_driver(),
            max_concurrent_trials=slots(),  # the bridge is what counts
            reuse_actors=True,
            max_failures=RETRIES,
            raise_on_failed_trial=False,
            callbacks=[KeepAcknowledged(), *callbacks],
            verbose=0,
        )
