"""Submitted sweeps: listed, followed, stopped.

A job does not know who follows it, so following may end at any time and start again.
"""

import asyncio
import time
from collections.abc import Callable
from contextlib import nullcontext
from datetime import datetime

from rich.console import Console
from rich.live import Live
from rich.table import Table

from sweeps.driver import events
from sweeps.driver.live import table, trial_line
from sweeps.driver.progress import Progress
from sweeps.jobs.cluster import STOP_SECONDS, Cluster, ClusterError, Job
from sweeps.names import command

SUCCEEDED, INTERRUPTED, FAILED = 0, 130, 1
"""Exit codes, where the job's own is not known."""
NO_COMMAND = 127
"""Exit code of a shell that does not find its command."""
RETRY_SECONDS = 2.0
MOST_RETRIES = 30
"""So often in a row a lost connection is tried again."""
POLL_SECONDS = 0.5
_SLACK = 15.0  # seconds that Ray may need for the signal and for its own records


def list_jobs(address: str, console: Console) -> None:
    """Print a line for each sweep at a cluster, the newest first; raises `ClusterError`."""
    jobs = Cluster.at(address).jobs()
    if not jobs:
        console.print(f"no sweep was submitted to {address} yet")
        return
    grid = Table(box=None, pad_edge=False, header_style="bold")
    for column in ("job", "state", "submitted", "time"):
        grid.add_column(column, no_wrap=True)
    grid.add_column("results", overflow="fold")
    for job in jobs:
        start = datetime.fromtimestamp(job.started).strftime("%Y-%m-%d %H:%M")
        time_taken = duration((job.ended or time.time()) - job.started)
        grid.add_row(job.id, job.status.lower(), start, time_taken, job.metadata.get("results", ""))
    console.print(grid)


def duration(seconds: float) -> str:
    """Return a time such as ``2 h 05 min``, ``12 min`` or ``40 s``."""
    whole = max(0, round(seconds))
    if whole >= 3600:
        return f"{whole // 3600} h {whole % 3600 // 60:02d} min"
    return f"{whole // 60} min" if whole >= 60 else f"{whole} s"


def show_log(cluster: Cluster, job: Job, console: Console) -> int:
    """Print a job's log so far; return 0."""
    write = _printer(console, None)
    for line in cluster.log(job.id).splitlines():
        write(line)
    return SUCCEEDED


def follow(cluster: Cluster, job: Job, console: Console) -> int:
    """Print a job's log from its beginning to its end; return the exit code of its sweep.

    A terminal has the live table in place of the trials' lines. Raises ConnectionError when the
    connection is lost for good.
    """
    again = command("logs", job.id, "--follow", "--address", cluster.address)
    shown = console.is_terminal
    live = Live(console=console, refresh_per_second=4, transient=True) if shown else None
    try:
        with live or nullcontext():
            asyncio.run(_tail(cluster, job.id, again, _printer(console, live)))
    except KeyboardInterrupt:
        console.print(f"the sweep keeps running; reattach with: {again}", soft_wrap=True)
        return INTERRUPTED
    return print_ending(cluster.job(job.id), cluster.address, console)


def print_ending(job: Job, address: str, console: Console) -> int:
    """Print how a job ended and return the exit code of its sweep."""
    if job.status == "SUCCEEDED":
        return SUCCEEDED
    if job.status == "STOPPED":
        resume = resume_command(job, address)
        console.print(f"{job.id} was stopped; resume with: {resume}", soft_wrap=True)
        return INTERRUPTED
    # A driver that has started explains in its log why it failed.
    reason = job.message if job.code is None else ""
    if "No module named 'sweeps" in job.message:
        reason = "this package is not installed there; install it on every node, for its `python`"
    elif job.code == NO_COMMAND:
        reason = "it finds no `python` there; activate its environment before `ray start`"
    if reason:
        console.print(f"{job.id} failed: {reason}", soft_wrap=True)
    return job.code or FAILED


def resume_command(job: Job, address: str) -> str:
    """Return the command that resumes a sweep that was stopped."""
    there = ("--results", job.metadata["results"], "--address", address)
    return command("submit", "FILE", "--resume", *there)


def stop(job_id: str, address: str, console: Console) -> int:
    """Stop a submitted sweep as Ctrl-C does and wait for its end; return the exit code.

    Ray sends SIGTERM, at which the driver keeps what was reported and ends.
    Raises `ClusterError` for a job that is not there, is over, or does not end.
    """
    cluster = Cluster.at(address)
    job = cluster.job(job_id)
    if job.is_over:
        raise ClusterError(f"{job_id} has ended ({job.status.lower()}): there is nothing to stop")
    cluster.stop(job_id)
    deadline = time.monotonic() + STOP_SECONDS + _SLACK
    while not (job := cluster.job(job_id)).is_over:
        if time.monotonic() > deadline:
            see = command("logs", job_id, "--address", cluster.address)
            raise ClusterError(f"{job_id} was asked to stop and is still running; see `{see}`")
        time.sleep(POLL_SECONDS)
    if job.status == "STOPPED":
        resume = resume_command(job, cluster.address)
        console.print(f"stopped; resume with: {resume}", soft_wrap=True)
    else:
        console.print(f"{job_id} ended by itself meanwhile ({job.status.lower()})")
    return SUCCEEDED


def _printer(console: Console, live: Live | None) -> Callable[[str], None]:
    """Return a function that prints a line of a log; events become a table or plain lines."""
    progress: Progress | None = None

    def write(line: str) -> None:
        nonlocal progress
        event = events.read(line, progress)
        if event is None:
            console.print(line, soft_wrap=True)
            return
        progress, trial = event
        if live:
            live.update(table(progress))
        elif trial:
            console.print(trial_line(progress, trial), soft_wrap=True)

    return write


async def _tail(cluster: Cluster, job_id: str, again: str, write: Callable[[str], None]) -> None:
    """Write the whole lines of a log, also over connections that break.

    Raises ConnectionError, naming the command to reattach with, after `MOST_RETRIES`.
    """
    shown = failures = 0
    while True:
        try:
            rest, number = "", 0  # each connection sends the log from its beginning, in pieces
            async for chunk in cluster.client.tail_job_logs(job_id):
                *lines, rest = (rest + chunk).split("\n")
                for line in lines:
                    number += 1
                    if number > shown:
                        write(line)
                        shown, failures = number, 0
            if rest and number >= shown:
                write(rest)
            return
        except Exception as error:  # whatever breaks between here and there
            failures += 1
            if failures > MOST_RETRIES:
                raise ConnectionError(
                    f"the connection to {cluster.address} is lost ({error}), which stops no sweep; "
                    f"reattach with: {again}"
                ) from error
            await asyncio.sleep(RETRY_SECONDS)
