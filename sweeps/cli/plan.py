"""``sweeps plan``: what a sweep would run. Starts nothing and writes nothing."""

from pathlib import Path

from rich.console import Console
from rich.text import Text

from sweeps import samplers
from sweeps.capacity import bases, disk, table
from sweeps.capacity.bases import Files
from sweeps.capacity.device import machine_bytes
from sweeps.capacity.disk import largest_adapter
from sweeps.capacity.layout import Layout, local_layout, refuse
from sweeps.capacity.sharing import hosts_that_fit
from sweeps.cli.spaces import show_sweep
from sweeps.results import retention
from sweeps.results.budget import described
from sweeps.results.retention import format_bytes
from sweeps.schedulers.fidelity import unpruned_trials
from sweeps.spec import plugins, starts
from sweeps.spec.load import Sweep
from sweeps.study.study import directions, enqueue
from sweeps.study.suggester import Suggester
from sweeps.trial import trial_title
from workers.models import builtin, checkpoint_files
from workers.models.checkpoint_files import CheckpointFiles
from workers.redaction import redact

SAMPLED_POINTS = 5


def show(sweep: Sweep, results: Path, console: Console, gpu_bytes: float | None = None) -> None:
    """Print trials, points, hosts, memory and disk of a sweep.

    `gpu_bytes` is the memory of another GPU than this machine has.
    """
    plan = _layout(sweep)
    refuse(sweep, plan)
    for name, value in _lines(sweep, results, plan, gpu_bytes):
        console.print(Text.assemble((f"{name:<11}", "bold"), f" {value}"), soft_wrap=True)
    console.print("\nspace", style="bold")
    show_sweep(sweep, console)
    sampler = sweep.search.sampler.name
    console.print(f"\npoints, the first {SAMPLED_POINTS} of sampler {sampler}", style="bold")
    for title in sample_titles(sweep, SAMPLED_POINTS):
        console.print(f"  {title}")


def sample_titles(sweep: Sweep, count: int) -> list[str]:
    """Return the titles of the first trials, drawn from a study in memory."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(directions=directions(sweep))
    for point in starts.points(sweep):
        enqueue(study, point)
    suggester = Suggester(study, sweep)
    drawn = [suggester.next() for _ in range(min(count, sweep.search.trials))]
    return [trial_title(one.number, one.point) for one in drawn if one is not None]


def _lines(
    sweep: Sweep, results: Path, plan: Layout, gpu_bytes: float | None
) -> list[tuple[str, str]]:
    there = bases.found(sweep)
    files = there.get((sweep.model.base, sweep.model.revision))
    refused = ", which resources.device refuses" if sweep.resources.device == "gpu" else ""
    device = "GPU" if plan.gpus_per_host else f"CPU{refused}"
    return [
        ("sweep", f"{sweep.name}: {sweep.task} with {sweep.model.base}"),
        ("trials", _trials(sweep)),
        ("budget", described(sweep.search.budget) or "no limit besides the trials"),
        ("objective", _objectives(sweep)),
        ("schedule", _schedule(sweep)),
        ("sampler", _sampler(sweep)),
        ("start", _start(sweep)),
        ("study", _study(sweep)),
        ("data", f"{sweep.data.source}{f' {sweep.data.path}' if sweep.data.path else ''}"),
        ("hosts", f"{plan.hosts}; {device}, {plan.threads} threads each"),
        ("base", _bases(sweep, there)),
        *table.lines(sweep, there, table.device_of(plan, gpu_bytes)),
        ("disk", _disk(sweep, files, plan, results)),
    ]  # fmt: skip


def _layout(sweep: Sweep) -> Layout:
    return local_layout(sweep.resources, hosts_that_fit(sweep, machine_bytes()))


def _objectives(sweep: Sweep) -> str:
    search = sweep.search
    wanted = ", ".join(f"{each.metric} ({each.mode})" for each in search.objectives)
    limits = ", ".join(f"{each.quantity} {each}" for each in search.constraints)
    return f"{wanted}; {limits}" if limits else wanted


def _schedule(sweep: Sweep) -> str:
    whole = len(unpruned_trials(sweep))
    first = f", the first {whole} trials run to their end to measure the rungs" if whole else ""
    return f"{sweep.schedule.name}, grace {sweep.schedule.grace}{first}"


def _trials(sweep: Sweep) -> str:
    trials, size = sweep.search.trials, sweep.search.space.size()
    points = f"a space of {size:.0f} points" if size != float("inf") else "a continuous space"
    early = "; the sweep ends when all are tried" if size < trials else ""
    return f"{trials} of {sweep.most_epochs} epochs each, {points}{early}"


def _sampler(sweep: Sweep) -> str:
    name, schedule = sweep.search.sampler.name, sweep.schedule.name
    if samplers.module(name).LEARNS_FROM_STOPPED or not plugins.scheduler(schedule).STOPS:
        return name
    return f"{name}; it learns from completed trials only, and {schedule} stops most before"


def _start(sweep: Sweep) -> str:
    if sweep.search.start is not None:
        return f"{len(sweep.search.start)} given points"
    point, why = starts.own_point(sweep)
    return why if point is not None else f"not with the recipe's own values: {why}"


def _study(sweep: Sweep) -> str:
    address = sweep.search.storage
    place = "beside the results" if address is None else redact(address)
    earlier = ", ".join(sweep.search.warm_start)
    return place + (f"; begins with what {earlier} learned" if earlier else "")


def memory_note(sweep: Sweep) -> str:
    """Return what one host of a sweep needs on this machine, in words; imports torch."""
    plan = _layout(sweep)
    folders = {name: checkpoint_files.local_folder(*name) for name in bases.names(sweep)}
    there = {name: checkpoint_files.from_config(own) for name, own in folders.items() if own}
    return table.summary(sweep, there, plan)


def _bases(sweep: Sweep, there: Files) -> str:
    return "; ".join(_base(name, there.get((name, own))) for name, own in bases.names(sweep))


def _base(base: str, files: CheckpointFiles | None) -> str:
    if files is not None:
        stored = format_bytes(files.file_bytes)
        return f"{base}: {files.weights:,} weights, {stored}, on this machine"
    if base in builtin.BASES:
        stored = format_bytes(builtin.BASES[base].bytes)
        return f"{base}: {stored}, built once by the first run (half a minute)"
    return f"{base}: not on this machine; the first run fetches it from the model hub"


def _disk(sweep: Sweep, files: CheckpointFiles | None, plan: Layout, results: Path) -> str:
    room = f"{format_bytes(retention.free(results))} free"
    if files is None:
        return f"adapters below {results}, {room}"
    most = disk.expected_bytes(sweep, largest_adapter(sweep, files), plan)
    return f"up to {format_bytes(most)} below {results}, {room}"
