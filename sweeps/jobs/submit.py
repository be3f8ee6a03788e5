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

from sweeps.jobs.cluster import STOP_SECONDS, SWEEP, Cluster, ClusterError, Job
from sweeps.jobs.outgoing import collect_files, show
from sweeps.jobs.parcel import Parcel, archived, pack
from sweeps.jobs.submitted import follow
from sweeps.spec import credentials
from sweeps.spec.storage import refuse_unfit, variables
from sweeps.spec.sweep import Sweep
from sweeps.version import installed_version
from workers.files.addresses import is_address
from workers.redaction import is_secret, redact, secret_values

DIGEST = "digest"
"""Key of a job's metadata: distinguishes what was submitted from anything else."""
OFFLINE = ("HF_HUB_OFFLINE", "HF_DATASETS_OFFLINE", "TRANSFORMERS_OFFLINE")
"""Variables that a job has if its sender has them."""
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
    """With a half-finished sweep of this name: resume it, begin a new one, or refuse."""
    follow_links: bool = False
    """Send files that lie outside of the working folder behind a link."""
    archive: Path | None = None
    """Where a copy of what is sent is kept, for Ray's own ``ray job submit``."""


@dataclass(frozen=True, kw_only=True)
class JobRequest:
    """The arguments of Ray's own ``ray job submit``."""

    job_id: str
    command: tuple[str, ...]
    variables: Mapping[str, str]
    """Of the job's environment."""
    metadata: Mapping[str, str]

    def env(self, archive: Path) -> dict[str, Any]:
        """Return Ray's runtime environment with what is sent in a zip."""
        return {"working_dir": str(archive), "env_vars": dict(self.variables)}


def submit(
    sweep: Sweep, options: Options, console: Console, *, dry_run: bool = False, wait: bool = True
) -> int:
    """Submit a sweep, or find the job that its key names; return the command's exit code.

    A dry run shows what would be sent and what would stay here, without a call to the cluster; it
    writes the archive alone, if there is to be one. Raises ValueError or OSError for what a user
    can fix; nothing is left behind then.
    """
    _refuse(sweep, options)
    files = collect_files(sweep, follow_links=options.follow_links)
    if dry_run:
        show(files, console, everything=True)
    content = pack(sweep, files)
    request = job_request(sweep, options, content)
    if dry_run:
        if options.archive is not None:
            with archived(content, options.archive):
                line = stock_line(options.address, request, options.archive)
                console.print(f"the same by Ray alone: {line}", soft_wrap=True)
        return 0
    cluster = Cluster.at(options.address)
    job = _earlier(cluster, request, options)
    if warning := cluster.exposed():
        console.print(warning, style="yellow", soft_wrap=True)
    if job is None:
        show(files, console)
        for name in missing_secrets(sweep, os.environ):
            line = (
                f"not sent, for Ray would show it to others: {name}; it must be set on the "
                "cluster's nodes before `ray start`"
            )
            console.print(line, style="yellow", soft_wrap=True)
        with archived(content, options.archive) as archive:
            command = shlex.join(request.command)
            new = cluster.submit(request.job_id, command, request.env(archive), request.metadata)
            job = cluster.job(request.job_id)
        if new:
            at = f"--address {shlex.quote(cluster.address)}"
            console.print(f"submitted as {job.id}", style="bold")
            console.print(f"  follow  sweeps logs {job.id} --follow {at}", soft_wrap=True)
            console.print(f"  stop    sweeps stop {job.id} {at}", soft_wrap=True)
        else:  # the same request was sent twice at once, and this one came second
            _same(job, request)
        if options.archive is not None:
            line = stock_line(cluster.address, request, options.archive)
            console.print(f"the same by Ray alone: {line}", soft_wrap=True)
    else:
        console.print(f"{job.id} was submitted before and is {job.status.lower()}")
    return follow(cluster, job, console) if wait else 0


def job_request(sweep: Sweep, options: Options, content: Parcel) -> JobRequest:
    """Return the request for a sweep; raises ValueError for a variable that is a secret."""
    choice = {True: ("--resume",), False: ("--fresh",), None: ()}[options.go_on]
    version = installed_version()
    sender = ("--sender", version) if version else ()
    places = ("--results", options.results, "--inputs", content.inputs)
    command = ("python", "-m", "sweeps.cli.job", *places, *sender, *choice)
    env = job_variables(options.env, os.environ)
    digest = sha256(repr((content.digest, command, env)).encode()).hexdigest()[:16]
    key = options.key or datetime.now().strftime("%Y%m%d-%H%M%S")
    return JobRequest(
        job_id=f"{sweep.name}-{key}",
        command=command,
        variables=env,
        metadata={SWEEP: sweep.name, DIGEST: digest, "results": options.results},
    )


def stock_line(address: str, request: JobRequest, archive: Path) -> str:
    """Return the ``ray job submit`` that does the same, under an id that Ray generates."""
    env = json.dumps(request.env(archive.absolute()))
    options = ("--address", address, "--runtime-env-json", env)
    metadata = ("--metadata-json", json.dumps(request.metadata))
    return shlex.join(("ray", "job", "submit", *options, *metadata, "--", *request.command))


def job_variables(assignments: Iterable[str], sender: Mapping[str, str]) -> dict[str, str]:
    """Return the variables of a job: assignments such as ``HF_HOME=/shared/hf``, and the sender's.

    Ray keeps a job's environment and shows it to all who see its dashboard. So no secret is sent:
    MLflow's password, the hub's token and the study's password are set on every node before
    ``ray start``, and the job inherits them from there. Raises ValueError for a malformed
    assignment, and for one that would reveal a secret.
    """
    result = {name: sender[name] for name in OFFLINE if name in sender}
    result["RAY_JOB_STOP_WAIT_TIME_S"] = str(STOP_SECONDS)
    for assignment in assignments:
        name, equals, value = assignment.partition("=")
        if not equals or not name.isidentifier():
            raise ValueError(f"--env must look like HF_HOME=/shared/hf, got {assignment!r}")
        known = value in secret_values(os.environ)
        if known or is_secret(name) or redact(value, {}) != value:
            raise ValueError(
                f"--env {name} must not be a secret: Ray shows a job's environment to all who see "
                "its dashboard; set it on every node before `ray start`"
            )
        result[name] = value
    return result


def missing_secrets(sweep: Sweep, sender: Mapping[str, str]) -> list[str]:
    """Return the variables with secrets that the sender has, or the file names: none is sent."""
    server = sweep.tracking.uri is not None and sweep.tracking.uri.startswith("http")
    used = [credentials.USER, credentials.PASSWORD, "MLFLOW_TRACKING_TOKEN"] if server else []
    present = [name for name in (*used, "HF_TOKEN") if name in sender]
    return [*present, *variables(sweep.search.storage or "")]


def _refuse(sweep: Sweep, options: Options) -> None:
    """Raise ValueError for invalid options."""
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
    """Return a job with the id of a request; raises `ClusterError` if it is another one."""
    if job.metadata.get(DIGEST) != request.metadata[DIGEST]:
        raise ClusterError(
            f"{job.id} was submitted with another file, data or options; submit this with another "
            "--idempotency-key"
        )
    return job
