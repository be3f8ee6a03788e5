"""Commands for sweeps on a Ray cluster: submit, jobs, logs, shell."""

from pathlib import Path
from typing import Annotated, NoReturn

import typer

from sweeps.cli.arguments import File, Overrides, console
from sweeps.spec.problems import refused

Address = Annotated[
    str,
    typer.Option(
        envvar=["RAY_API_SERVER_ADDRESS"], help="Of the cluster's dashboard: http://127.0.0.1:8265."
    ),
]
JobId = Annotated[str, typer.Argument(metavar="JOB", help="A submitted sweep, see `sweeps jobs`.")]
NEAR = "http://127.0.0.1:8265"
HOME = "~/sweep-results"


def submit(
    file: File,
    overrides: Overrides = None,
    address: Address = NEAR,
    key: Annotated[
        str | None,
        typer.Option("--idempotency-key", help="Submitted again with this key, it is the same."),
    ] = None,
    results: Annotated[
        str | None,
        typer.Option(
            envvar="SWEEPS_RESULTS",
            help="Folder that all nodes of the cluster see, or an address: s3://bucket/prefix. "
            f"Else as `storage` of the file says, or {HOME}.",
        ),
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
        bool, typer.Option("--wait/--no-wait", help="Follow it; else only say its id.")
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
    """Submit a sweep to a Ray cluster and follow it; whoever leaves may come back."""
    from sweeps.spec.files import read

    with refused(FileNotFoundError):
        sweep = read(file, overrides or ())
    from sweeps.jobs.submit import Options
    from sweeps.jobs.submit import submit as send

    options = Options(
        address=address,
        results=results or sweep.storage or HOME,
        key=key,
        env=tuple(env or ()),
        go_on=go_on,
        follow_links=follow_links,
        archive=archive,
    )
    with refused(ValueError):
        code = send(sweep, options, console(), dry_run=dry, wait=wait)
    raise typer.Exit(code)


def jobs(address: Address = NEAR) -> None:
    """List the sweeps that were submitted to a cluster."""
    from sweeps.jobs.submitted import list_jobs

    with refused(ValueError):
        list_jobs(address, console())


def logs(
    job: JobId,
    address: Address = NEAR,
    keep_on: Annotated[
        bool, typer.Option("--follow", help="Until it ends, with the live table.")
    ] = False,
) -> None:
    """Show what a submitted sweep has said so far, or follow it."""
    from sweeps.jobs.cluster import Cluster
    from sweeps.jobs.submitted import follow, show_log

    with refused(ValueError):
        cluster = Cluster.at(address)
        found = cluster.job(job)
        code = (follow if keep_on else show_log)(cluster, found, console())
    raise typer.Exit(code)


def stop(job: str, trial: str | None, address: str) -> NoReturn:
    """Stop a submitted sweep; the command `sweeps stop` with ``--address``."""
    from sweeps.jobs.submitted import stop as end

    with refused(ValueError):
        if trial is not None:
            raise ValueError(
                "--address stops a whole job; a single trial is stopped on the head node: "
                f"sweeps stop SWEEP {trial} --results FOLDER"
            )
        code = end(job, address, console())
    raise typer.Exit(code)
