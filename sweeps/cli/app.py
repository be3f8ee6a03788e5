"""The command line: each command imports what it needs when it is called."""

import os
import sys
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sweeps.cli import board, jobs, live, promotion, serving
from sweeps.cli.arguments import (
    DriversResults,
    File,
    Json,
    NamedResults,
    Overrides,
    Results,
    SweepId,
    console,
    read_sweep,
    report_error,
)
from sweeps.names import RESULTS
from sweeps.quiet import disable_compilers
from sweeps.spec import credentials
from sweeps.spec.problems import refused
from workers.redaction import redacted

if TYPE_CHECKING:
    from sweeps.spec.load import Sweep

app = typer.Typer(
    name="sweeps",
    help="LoRA sweeps for vision-language models: Ray Tune, Optuna, COCO metrics, MLflow.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


@app.command()
def run(
    file: File,
    overrides: Overrides = None,
    results: NamedResults = None,
    go_on: Annotated[
        bool | None,
        typer.Option("--resume/--fresh", help="With a half-finished sweep of this name; else ask."),
    ] = None,
    rehearse: Annotated[
        bool, typer.Option("--rehearse", help="Try it small: a tiny base, few images, two trials.")
    ] = False,
) -> None:
    """Run a sweep: search, leaderboard, and the best adapter in the registry."""
    sweep = read_sweep(file, overrides)
    place = _place(sweep, results)
    if rehearse:
        from sweeps.cli.rehearse import rehearse as run_small

        raise typer.Exit(run_small(sweep, place, console()))
    from sweeps.cli.beginning import sweep_to_resume

    ask = input if sys.stdin.isatty() and sys.stdout.isatty() else None
    with refused(FileNotFoundError):
        earlier = sweep_to_resume(sweep, place, go_on, ask)
    from sweeps.cli.outcome import run_sweep

    raise typer.Exit(run_sweep(sweep, place, earlier, console()))


@app.command()
def resume(
    sweep: SweepId,
    trials: Annotated[
        str | None, typer.Option(help="How many in all (60), or more than before (+20).")
    ] = None,
    overrides: Overrides = None,
    results: DriversResults = RESULTS,
) -> None:
    """Resume a sweep that was stopped, or one that ended, with more trials."""
    from sweeps.results.changes import changed
    from sweeps.results.folder import SweepFolder

    folder = SweepFolder.find(results, sweep)
    with refused(FileNotFoundError):
        wanted = changed(folder, trials, overrides or ())
    from sweeps.cli.outcome import run_sweep

    raise typer.Exit(run_sweep(wanted, results, sweep, console()))


@app.command()
def plan(
    file: File,
    overrides: Overrides = None,
    results: NamedResults = None,
    gpu_memory: Annotated[
        str | None, typer.Option(metavar="SIZE", help="What would fit on such a GPU: 24GB, 80GiB.")
    ] = None,
) -> None:
    """Show what a sweep would run; start and write nothing."""
    from sweeps.capacity.device import memory_of
    from sweeps.cli.plan import show

    size = None if gpu_memory is None else memory_of(gpu_memory)
    sweep = read_sweep(file, overrides)
    show(sweep, _place(sweep, results), console(), size)


@app.command()
def check(
    file: Annotated[
        str | None, typer.Argument(help="A sweep file, or the name of a recipe: checks its data.")
    ] = None,
    overrides: Overrides = None,
    images: Annotated[
        bool, typer.Option("--images", help="Decode every image of FILE, and follow links.")
    ] = False,
    model: Annotated[
        str | None,
        typer.Option(metavar="MODEL", help="In place of FILE: a name on the hub, or a folder."),
    ] = None,
    revision: Annotated[
        str | None, typer.Option(help="Commit, branch or tag of the hub; else the newest.")
    ] = None,
    targets: Annotated[
        list[str] | None,
        typer.Option(metavar="SET", help="A value of adapter.targets; else all of the family's."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Check the data of a sweep, or that a model can be trained here; without weights or Ray.

    Of a model, a tiny stand-in is made of its small files.
    """
    if (file is None) == (model is None):
        raise typer.BadParameter("give a sweep FILE, to check its data, or --model MODEL")
    if file is not None:
        from sweeps.cli.check_data import check_data

        sweep = read_sweep(file, overrides)
        with refused():
            raise typer.Exit(check_data(sweep, console(), decode=images, as_json=as_json))
    from sweeps.cli.check import check_model

    with refused():
        raise typer.Exit(
            check_model(str(model), revision, targets or (), console(), as_json=as_json)
        )


@app.command()
def space(
    name: Annotated[str, typer.Argument(help="A preset, a sweep file, or the name of a recipe.")],
) -> None:
    """Show a search space: its fields, rules and size, and why a preset is as it is."""
    from sweeps.cli.spaces import show

    with refused(FileNotFoundError):
        show(name, console())


@app.command()
def init(
    recipe: Annotated[
        str, typer.Argument(help="A recipe such as quickstart, or a cluster such as cluster-aws.")
    ],
    force: Annotated[bool, typer.Option(help="Replace a file that is there.")] = False,
) -> None:
    """Write a ready sweep or cluster file to edit: RECIPE.yaml in this folder."""
    from sweeps.spec.load import clusters, ready_text

    target = Path(f"{recipe}.yaml")
    with refused(FileNotFoundError):
        text = ready_text(recipe)
    if target.exists() and not force:
        raise FileExistsError(f"{target} is there already; --force replaces it")
    target.write_text(text, encoding="utf-8")
    then = "as its first lines say" if recipe in clusters() else f"then: sweeps run {target}"
    console().print(f"wrote {target}; edit it, {then}")


@app.command()
def doctor(
    sweep: Annotated[
        str | None, typer.Argument(help="A sweep whose study, files and runs to compare.")
    ] = None,
    results: Results = RESULTS,
) -> None:
    """Check this machine: Java, GPUs, bitsandbytes, torchvision, disk, Ray, tracking."""
    if sweep is not None:
        from sweeps.doctor.checkup import compare_records

        raise typer.Exit(compare_records(sweep, results, console()))
    from sweeps.doctor.machine import check_machine

    raise typer.Exit(check_machine(results, console()))


# After the commands above: the help lists all in this order.
_COMMANDS: list[Callable[..., Any]] = [
    *(live.status, live.stop, live.pause, live.unpause, live.add, live.sync),
    *(board.compare, board.report, board.ui),
    *(promotion.promote, promotion.history, promotion.rollback, promotion.reconcile),
    *(serving.serve, serving.caption, serving.predict, serving.score),
    *(jobs.submit, jobs.jobs, jobs.logs, jobs.shell, jobs.launcher),
]
for _command in _COMMANDS:
    app.command("continue" if _command is live.unpause else None)(_command)


def main() -> None:
    """Run the command line; what a person can fix is one line and no traceback.

    Nothing that it prints or logs holds a secret, see `workers.redaction`.
    """
    with redirect_stdout(redacted(sys.stdout)), redirect_stderr(redacted(sys.stderr)):
        try:
            credentials.refuse_secrets(os.environ)
            disable_compilers()
            app()
        except Exception as error:
            sys.exit(report_error(error))


def _place(sweep: "Sweep", results: str | None) -> Path:
    """Return where the driver of a sweep works, see `sweeps.storage.places`."""
    from sweeps.spec.load import results_of
    from sweeps.storage.places import DRIVER, working

    with refused():
        return working(results_of(sweep, results), DRIVER)
