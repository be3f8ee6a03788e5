"""Commands for sweeps on a Ray cluster: submit, jobs, logs, launcher, shell."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, NoReturn

import typer

from sweeps.cli.arguments import File, Overrides, console, read_sweep
from sweeps.spec.problems import refused

Address = Annotated[
    str,
    typer.Option(
        envvar=["RAY_API_SERVER_ADDRESS"], help="The cluster's dashboard: http://127.0.0.1:8265."
    ),
]
JobId = Annotated[str, typer.Argument(metavar="JOB", help="A submitted sweep, see `sweeps jobs`.")]
LOCAL = "http://127.0.0.1:8265"
DEFAULT_RESULTS = "~/sweep-results"
_RESULTS_HELP = (
    "Folder that all nodes of the cluster see, or an address: s3://bucket/prefix. "
    f"Else as `storage` of the file says, or {DEFAULT_RESULTS}."
)

FUNCTION = """\
ray() {
    if [ "${1-}" = submit ] && (shift; command sweeps shell -- "$@"); then
        shift
        command sweeps submit "$@"
    else
        command ray "$@"
    fi
}
"""
"""Shell function that sends ``ray submit sweep.yaml`` to ``sweeps submit``; for bash, zsh and any
other shell of POSIX. Ray's own command is ``ray submit CLUSTER.yaml SCRIPT``: the function takes
over only calls that Ray could not run."""
_SECTIONS = {"name", "model", "data", "search"}
_ENOUGH = 2  # of them: a file that forgets one is a sweep with an issue, and the error says so


def submit(
    file: File,
    overrides: Overrides = None,
    address: Address = LOCAL,
    key: Annotated[
        str | None,
        typer.Option("--idempotency-key", help="Submitted again with this key, it is the same."),
    ] = None,
    results: Annotated[
        str | None, typer.Option(envvar="SWEEPS_RESULTS", help=_RESULTS_HELP)
    ] = None,
    env: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=VALUE", help="A variable of the job; never a secret."),
    ] = None,
    go_on: Annotated[
        bool | None,
        typer.Option("--resume/--fresh", help="With a half-finished sweep of this name there."),
    ] = None,
    wait: Annotated[
        bool, typer.Option("--wait/--no-wait", help="Follow it; else print its id and return.")
    ] = True,
    dry: Annotated[
        bool, typer.Option("--dry-run", help="Only list the files that would be sent.")
    ] = False,
    follow_links: Annotated[
        bool, typer.Option("--follow-links", help="Also send files behind links out of here.")
    ] = False,
    archive: Annotated[
        Path | None,
        typer.Option(metavar="FILE.zip", help="Keep what is sent, and print Ray's own command."),
    ] = None,
) -> None:
    """Submit a sweep to a Ray cluster and follow it; you can detach and reattach."""
    sweep = read_sweep(file, overrides)
    from sweeps.jobs.submit import Options
    from sweeps.jobs.submit import submit as send

    options = Options(
        address=address,
        results=results or sweep.storage or DEFAULT_RESULTS,
        key=key,
        env=tuple(env or ()),
        go_on=go_on,
        follow_links=follow_links,
        archive=archive,
    )
    with refused(ValueError):
        code = send(sweep, options, console(), dry_run=dry, wait=wait)
    raise typer.Exit(code)


def jobs(address: Address = LOCAL) -> None:
    """List the sweeps that were submitted to a cluster."""
    from sweeps.jobs.submitted import list_jobs

    with refused(ValueError):
        list_jobs(address, console())


def logs(
    job: JobId,
    address: Address = LOCAL,
    keep_on: Annotated[
        bool, typer.Option("--follow", help="Until it ends, with the live table.")
    ] = False,
) -> None:
    """Show the log of a submitted sweep so far, or follow it."""
    from sweeps.jobs.cluster import Cluster
    from sweeps.jobs.submitted import follow, show_log

    with refused(ValueError):
        cluster = Cluster.at(address)
        found = cluster.job(job)
        code = (follow if keep_on else show_log)(cluster, found, console())
    raise typer.Exit(code)


def stop_job(job: str, trial: str | None, address: str) -> NoReturn:
    """Stop a submitted sweep; the command `sweeps stop` with ``--address``."""
    from sweeps.jobs.submitted import stop

    with refused(ValueError):
        if trial is not None:
            raise ValueError(
                "--address stops a whole job; a single trial is stopped on the head node: "
                f"sweeps stop SWEEP {trial} --results FOLDER"
            )
        code = stop(job, address, console())
    raise typer.Exit(code)


def _without_blanks(script: Path) -> Path:
    if len(script.name.split()) != 1:
        raise typer.BadParameter(f"`ray submit` runs no script with blanks in its name: {script}")
    return script


def launcher(
    file: File,
    overrides: Overrides = None,
    results: Annotated[str | None, typer.Option(help=_RESULTS_HELP)] = None,
    out: Annotated[
        Path, typer.Option(help="The script to write.", callback=_without_blanks)
    ] = Path("launch.py"),
) -> None:
    """Write the script with which `ray submit CLUSTER.yaml launch.py` runs a sweep."""
    from sweeps.jobs.launcher import left_behind, script_text, submit_command, write_script

    sweep = read_sweep(file, overrides)
    run = submit_command(file, out)
    write_script(script_text(sweep, results or sweep.storage or DEFAULT_RESULTS, run), out)
    console().print(f"wrote {out}, which carries {sweep.name}; run it: {run}", soft_wrap=True)
    for name in left_behind(sweep):
        note = (
            f"note: {name} is not sent; all nodes must have it, and the home folder on the head is "
            "where a relative path begins"
        )
        console().print(note, soft_wrap=True)


def shell(words: Annotated[list[str] | None, typer.Argument(hidden=True)] = None) -> None:
    """Print a shell function for `ray submit sweep.yaml`: eval "$(sweeps shell)"."""
    if words is None:
        print(FUNCTION, end="")
    elif not is_ours(words):
        raise typer.Exit(1)


def is_ours(words: Sequence[str]) -> bool:
    """Tell whether the words after ``ray submit`` are for ``sweeps submit``.

    They are when the first is a file with a sweep, and the others are options of ``sweeps
    submit``, so that none is left to be a script.
    """
    from sweeps.spec.yaml_file import read_file

    try:
        document = read_file(Path(words[0]))
        values = document.sweep().values
    except (IndexError, OSError, ValueError):  # also SpecError, UnicodeDecodeError
        return False
    sections = _SECTIONS & values.keys() if isinstance(values, dict) else ()
    if not document.is_cluster_file() and len(sections) < _ENOUGH:
        return False
    command = typer.Typer()
    command.command()(submit)
    try:
        typer.main.get_command(command).make_context("submit", list(words))
    except Exception:  # click's and typer's own: no such option, one word too many, --help
        return False
    return True
