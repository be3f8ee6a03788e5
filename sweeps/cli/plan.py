"""``sweeps plan``: the trials, machines, memory and disk of a sweep. Starts and writes nothing.

What a host would refuse is refused here, by the same functions: see `sweeps.capacity.adapted`.
"""

import math
from collections.abc import Iterator
from pathlib import Path

from rich.console import Console
from rich.text import Text

from sweeps import samplers
from sweeps.capacity import adapted, disk, images, memory, table
from sweeps.capacity.device import machine_bytes
from sweeps.capacity.layout import Layout, local_layout, refuse_gpu_budget
from sweeps.capacity.memory import hosts_that_fit
from sweeps.capacity.unfit import refuse_gpu_attention, refuse_unfit_models
from sweeps.cli import check_data
from sweeps.cli.spaces import show_sweep
from sweeps.quiet import quiet_libraries
from sweeps.results import retention
from sweeps.results.budget import described
from sweeps.results.retention import format_bytes
from sweeps.schedulers.fidelity import unpruned_trials
from sweeps.spec import plugins, starts
from sweeps.spec.load import Sweep
from sweeps.spec.problems import refused
from sweeps.study.study import directions, enqueue
from sweeps.study.suggester import Suggester
from sweeps.trial import trial_title
from workers.families.traits import UNTRIED
from workers.models import builtin, checkpoint_files
from workers.models.checkpoint_files import CheckpointFiles
from workers.recipe import Model
from workers.redaction import redact

SAMPLED_POINTS = 5


def show(sweep: Sweep, results: Path, console: Console, gpu_bytes: float | None = None) -> None:
    """Print trials, points, hosts, memory and disk; `gpu_bytes` is the memory of another GPU."""
    with refused():
        there = memory.local_files(sweep)
        adapted.refuse(sweep, there)
        refuse_unfit_models(sweep, there)
    _see_traits(there)
    plan = _layout(sweep)
    refuse_gpu_budget(sweep, plan)
    if not plan.gpus_per_host and gpu_bytes is None:
        refuse_gpu_attention(sweep)
    for name, value in [*_lines(sweep, results, plan, gpu_bytes)]:  # or nothing but an error
        console.print(Text.assemble((f"{name:<11}", "bold"), f" {value}"), soft_wrap=True)
    console.print("\nspace", style="bold")
    show_sweep(sweep, console)
    sampler = sweep.search.sampler.name
    console.print(f"\npoints, the first {SAMPLED_POINTS} of sampler {sampler}", style="bold")
    for title in sample_titles(sweep, SAMPLED_POINTS):
        console.print(f"  {title}")


def _see_traits(files: memory.Files) -> None:
    """Let stand-ins of architectures run that never have on this machine, see `workers.traits`.

    It takes a few seconds for each, and decides what is packed.
    """
    untried = [name for name, own in files.items() if own.family.traits is UNTRIED]
    if not untried:
        return
    quiet_libraries()
    from workers import traits

    for base, revision in untried:
        traits.of(Model(base=base, revision=revision))


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


def memory_note(sweep: Sweep) -> str:
    """Return the memory that one host of a sweep needs on this machine, as text; imports torch."""
    folders = {name: checkpoint_files.local_folder(*name) for name in memory.base_names(sweep)}
    files = {name: checkpoint_files.from_config(own) for name, own in folders.items() if own}
    return table.summary(sweep, files, _layout(sweep))


def _layout(sweep: Sweep) -> Layout:
    return local_layout(sweep.resources, hosts_that_fit(sweep, machine_bytes()))


def _lines(
    sweep: Sweep, results: Path, plan: Layout, gpu_bytes: float | None
) -> Iterator[tuple[str, str]]:
    """Yield the lines about trials, machine, memory and disk, as (heading, text)."""
    search, schedule, data = sweep.search, sweep.schedule, sweep.data
    yield "sweep", f"{sweep.name}: {sweep.task} with {sweep.model.base}"

    size = search.space.size()
    points = f"a space of {size:.0f} points" if size != math.inf else "a continuous space"
    early = "; the sweep ends when all are tried" if size < search.trials else ""
    yield "trials", f"{search.trials} of {sweep.most_epochs} epochs each, {points}{early}"
    if rates := _rates(sweep):
        yield "rates", rates
    yield "budget", described(search.budget) or "no limit besides the trials"

    objectives = ", ".join(f"{each.metric} ({each.mode})" for each in search.objectives)
    limits = ", ".join(f"{each.quantity} {each}" for each in search.constraints)
    yield "objective", f"{objectives}; {limits}" if limits else objectives

    whole = len(unpruned_trials(sweep))
    first = f", the first {whole} trials run to their end to measure the rungs" if whole else ""
    yield "schedule", f"{schedule.name}, grace {schedule.grace}{first}"
    learns = samplers.module(search.sampler.name).LEARNS_FROM_STOPPED
    few = f"; it learns from completed trials only, and {schedule.name} stops most before"
    stops = plugins.scheduler(schedule.name).STOPS
    yield "sampler", search.sampler.name + (few if stops and not learns else "")

    if search.start is not None:
        yield "start", f"{len(search.start)} given points"
    else:
        point, why = starts.own_point(sweep)
        yield "start", why if point is not None else f"not with the recipe's own values: {why}"
    study = "beside the results" if search.storage is None else redact(search.storage)
    earlier = ", ".join(search.warm_start)
    yield "study", study + (f"; begins with what {earlier} learned" if earlier else "")
    counted = check_data.glance(sweep)
    place = f"{data.source}{f' {data.path}' if data.path else ''}"
    yield "data", f"{place}: {counted}" if counted else place

    refused = ", which resources.device refuses" if sweep.resources.device == "gpu" else ""
    device = "GPU" if plan.gpus_per_host else f"CPU{refused}"
    yield "hosts", f"{plan.hosts}; {device}, {plan.threads} threads each"
    there = memory.local_files(sweep)
    yield "base", "; ".join(_base(key[0], there.get(key)) for key in memory.base_names(sweep))
    yield from adapted.lines(sweep, there)
    yield from adapted.captions(sweep, there)
    on = table.device_of(plan, gpu_bytes)
    yield from images.lines(sweep, there, on)
    yield from table.lines(sweep, there, on)
    files = there.get((sweep.model.base, sweep.model.revision))
    room = f"below {results}, {format_bytes(retention.free(results))} free"
    if files is None:
        yield "disk", f"adapters {room}"
    else:
        most = disk.expected_bytes(sweep, disk.largest_adapter(sweep, files), plan)
        yield "disk", f"up to {format_bytes(most)} {room}"


def _rates(sweep: Sweep) -> str:
    """Return what is said of learning rates besides the common one; searched ones are the space's.

    Empty where nothing is.
    """
    train, found = sweep.train, []
    for part in ("vision", "projector"):
        rate = getattr(train, f"{part}_learning_rate")
        found += [] if rate is None else [f"{part} {rate:g}"]
    if train.lora_plus_ratio != 1.0:
        found.append(f"B {train.lora_plus_ratio:g} times that of A")
    return f"{train.learning_rate:g}; {', '.join(found)}" if found else ""


def _base(base: str, files: CheckpointFiles | None) -> str:
    """Return the size of a base, and where it is or comes from."""
    if files is not None and not files.file_bytes:
        return (
            f"{base}: {files.weights:,} weights, by its config: they are not on this machine, "
            "and what runs the sweep needs them"
        )
    if files is not None:
        stored = format_bytes(files.file_bytes)
        return f"{base}: {files.weights:,} weights, {stored}, on this machine"
    if base in builtin.BASES:
        stored = format_bytes(builtin.BASES[base].bytes)
        return f"{base}: {stored}, built once by the first run (half a minute)"
    return f"{base}: not on this machine; the first run fetches it from the model hub"
