"""``sweeps submit``: a sweep becomes a job of a Ray cluster, exactly once."""

import json
import os
import re
import shlex
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256
from pathlib import Path
from typing import Any

from rich.console import Console

from sweeps.jobs import environment, preview
from sweeps.jobs.cluster import SWEEP, Cluster, ClusterError, Job
from sweeps.jobs.follow import follow
from sweeps.jobs.outgoing import outgoing
from sweeps.jobs.parcel import Parcel, archived, parcel
from sweeps.spec.storage import refuse_unfit
from sweeps.spec.sweep import Sweep
from sweeps.version import installed_version
from workers.files.addresses import is_address

DIGEST = "digest"
"""Key of a job's metadata: tells what was submitted from anything else."""
_KEY = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


@dataclass(frozen=True, kw_only=True)
class Options:
    """How a sweep is to be submitted."""

    address: str
    """Of the cluster's dashboard."""
    results: str
    """Folder on the cluster, seen by every node; may begin with ``~``."""
    key: str | None = None
    """Two submissions with the same key are one; null is a new one each time."""
    env: Iterable[str] = ()
    """Variables of the job, as ``NAME=VALUE``."""
    go_on: bool | None = None
    """With a half-finished sweep of this name: go on with it, begin a new one, or refuse."""
    follow_links: bool = False
    """Send files that lie outside of the working folder behind a link."""
    archive: Path | None = None
    """Where a copy of what is sent is kept, for Ray's own ``ray job submit``."""


@dataclass(frozen=True, kw_only=True)
class JobRequest:
    """What is sent: the arguments of Ray's own ``ray job submit``."""

    job_id: str
    command: tuple[str, ...]
    variables: Mapping[str, str]
    """Of the job's environment."""
    metadata: Mapping[str, str]

    def env(self, archive: Path) -> dict[str, Any]:
        """Return Ray's runtime environment with what is sent in a zip."""
        return {"working_dir": str(archive), "env_vars": dict(self.variables)}


def submit(sweep: Sweep, options: Options, console: Console, *, wait: bool = True) -> int:
    """Submit a sweep, or find the job that its key names; return the command's exit code.

    Raises ValueError or OSError for what a user can fix; nothing is left behind then.
    """
    _refuse(sweep, options)
    files = outgoing(sweep, follow_links=options.follow_links)
    content = parcel(sweep, files)
    request = _request(sweep, options, content)
    cluster = Cluster.at(options.address)
    earlier = _earlier(cluster, request, options)
    if warning := cluster.exposed():
        console.print(warning, style="yellow", soft_wrap=True)
    if earlier is None:
        preview.show(files, console)
        with archived(content, options.archive) as archive:
            job = _sent(cluster, request, archive, sweep, console)
        if options.archive is not None:
            _say_stock_line(cluster.address, request, options.archive, console)
    else:
        console.print(f"{earlier.id} was submitted before and is {earlier.status.lower()}")
        job = earlier
    if not wait:
        return 0
    return follow(cluster, job, console)


def dry_run(sweep: Sweep, options: Options, console: Console) -> None:
    """Show what `submit` would send and what would stay here, without asking the cluster.

    Nothing is written but the archive, where one is asked for. Raises ValueError as `submit` does.
    """
    _refuse(sweep, options)
    files = outgoing(sweep, follow_links=options.follow_links)
    preview.show_all(files, console)
    content = parcel(sweep, files)
    request = _request(sweep, options, content)
    if options.archive is not None:
        with archived(content, options.archive):
            _say_stock_line(options.address, request, options.archive, console)


def stock_line(address: str, request: JobRequest, archive: Path) -> str:
    """Return the ``ray job submit`` that does the same, under an id that Ray makes up."""
    return shlex.join([
        "ray", "job", "submit", "--address", address,
        "--runtime-env-json", json.dumps(request.env(archive)), "--metadata-json",
        json.dumps(request.metadata), "--", *request.command,
    ])  # fmt: skip


def _say_stock_line(address: str, request: JobRequest, archive: Path, console: Console) -> None:
    line = stock_line(address, request, archive.absolute())
    console.print(f"the same by Ray alone: {line}", soft_wrap=True)


def _refuse(sweep: Sweep, options: Options) -> None:
    """Raise ValueError for options that cannot be."""
    if not (options.results.startswith(("/", "~")) or is_address(options.results)):
        raise ValueError(
            "--results must be an absolute folder on storage that every node of the cluster sees, "
            f"such as /shared/sweep-results, or an address, got {options.results!r}"
        )
    refuse_unfit(sweep, options.results)
    if options.key is not None and not _KEY.fullmatch(options.key):
        raise ValueError(
            f"--idempotency-key must be up to 64 letters, digits and . _ -, got {options.key!r}"
        )
    if options.archive is not None and not (
        options.archive.suffix == ".zip" and options.archive.absolute().parent.is_dir()
    ):
        raise ValueError(
            f"--archive must be a file *.zip in a folder that is there, got {options.archive}"
        )


def _request(sweep: Sweep, options: Options, content: Parcel) -> JobRequest:
    """Say what is asked of the cluster; raises ValueError for a variable that is a secret."""
    command = job_command(options.results, content.inputs, options.go_on)
    variables = environment.sent(options.env, os.environ)
    digest = sha256(repr((content.digest, command, variables)).encode()).hexdigest()[:16]
    key = options.key or datetime.now().strftime("%Y%m%d-%H%M%S")
    return JobRequest(
        job_id=f"{sweep.name}-{key}",
        command=command,
        variables=variables,
        metadata=_metadata(sweep, options.results, digest),
    )


def _metadata(sweep: Sweep, results: str, digest: str) -> dict[str, str]:
    """Return what whoever follows the job needs to know of the sweep."""
    return {
        SWEEP: sweep.name,
        DIGEST: digest,
        "results": results,
        "objective": sweep.search.objective.metric,
        "mode": str(sweep.search.objective.mode),
        "trials": str(sweep.search.trials),
        "epochs": str(sweep.most_epochs),
    }


def _earlier(cluster: Cluster, request: JobRequest, options: Options) -> Job | None:
    """Return the job that this submission repeats.

    Raises `ClusterError` when its id is that of another one, or when a sweep of this name runs and
    no key says that another one is meant.
    """
    jobs = cluster.jobs()
    for job in jobs:
        if job.id == request.job_id:
            return _same(job, request)
    name = request.metadata[SWEEP]
    running = [job for job in jobs if job.sweep == name and not job.is_over]
    if running and options.key is None:
        at = f"--address {shlex.quote(cluster.address)}"
        raise ClusterError(
            f"a sweep called {name} runs at {cluster.address} as {running[0].id}; see it with "
            f"`sweeps logs {running[0].id} --follow {at}`, end it with `sweeps stop "
            f"{running[0].id} {at}`, or submit one beside it with --idempotency-key KEY"
        )
    return None


def _same(job: Job, request: JobRequest) -> Job:
    if job.metadata.get(DIGEST) != request.metadata[DIGEST]:
        raise ClusterError(
            f"{job.id} was submitted with another file, data or options; submit this with another "
            "--idempotency-key"
        )
    return job


def _sent(
    cluster: Cluster, request: JobRequest, archive: Path, sweep: Sweep, console: Console
) -> Job:
    for name in environment.missing(sweep, os.environ):
        console.print(
            f"not sent, for Ray would show it to others: {name}; it must be set on the cluster's "
            "nodes before `ray start`", style="yellow", soft_wrap=True,
        )  # fmt: skip
    env = request.env(archive)
    new = cluster.submit(request.job_id, shlex.join(request.command), env, request.metadata)
    job = cluster.job(request.job_id)
    if not new:  # the same submission from elsewhere was faster
        return _same(job, request)
    at = f"--address {shlex.quote(cluster.address)}"
    console.print(f"submitted as {job.id}", style="bold")
    console.print(f"  follow  sweeps logs {job.id} --follow {at}", soft_wrap=True)
    console.print(f"  stop    sweeps stop {job.id} {at}", soft_wrap=True)
    return job


def job_command(results: str, inputs: str, go_on: bool | None) -> tuple[str, ...]:
    """Return the command of a job."""
    choice = {True: ("--resume",), False: ("--fresh",), None: ()}[go_on]
    sender = ("--sender", version) if (version := installed_version()) else ()
    return (
        "python", "-m", "sweeps.cli.job", "--results", results, "--inputs", inputs,
        *sender, *choice,
    )  # fmt: skip
