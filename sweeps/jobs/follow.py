"""Following a job: its log as it grows, with the live table on a terminal.

The job does not know who follows it: whoever goes away may come back.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.live import Live

from sweeps.driver import events
from sweeps.driver.live import table, trial_line
from sweeps.driver.progress import Progress
from sweeps.jobs.cluster import Cluster, Job
from sweeps.names import command
from sweeps.study.trials import TrialState

SUCCEEDED, INTERRUPTED, FAILED = 0, 130, 1
"""Exit codes, where the job's own is not known."""
NO_COMMAND = 127
"""Exit code of a shell that does not find its command."""
RETRY_SECONDS = 2.0
MOST_RETRIES = 30
"""So often in a row a lost connection is tried again."""

Write = Callable[[str], None]


def follow(cluster: Cluster, job: Job, console: Console) -> int:
    """Show a job's log from its beginning to its end; return the exit code of its sweep."""
    try:
        with _screen(console) as write:
            asyncio.run(_follow(cluster, job.id, write))
    except KeyboardInterrupt:
        console.print(f"the sweep goes on; {_coming_back(cluster, job.id)}", soft_wrap=True)
        return INTERRUPTED
    return ended(cluster.job(job.id), cluster.address, console)


def show(cluster: Cluster, job: Job, console: Console) -> int:
    """Show a job's log so far; return 0."""
    write = _plain(console)
    for line in cluster.log(job.id).splitlines():
        write(line)
    return SUCCEEDED


def ended(job: Job, address: str, console: Console) -> int:
    """Say how a job ended and return the exit code of its sweep."""
    if job.status == "SUCCEEDED":
        return SUCCEEDED
    if job.status == "STOPPED":
        console.print(f"{job.id} was stopped; go on with: {resuming(job, address)}", soft_wrap=True)
        return INTERRUPTED
    said = _unable(job)
    if said:
        console.print(f"{job.id} failed: {said}", soft_wrap=True)
    return job.code or FAILED


def resuming(job: Job, address: str) -> str:
    """Return the command that goes on with a sweep that was stopped."""
    there = ("--results", job.metadata["results"], "--address", address)
    return command("submit", "FILE", "--resume", *there)


def _unable(job: Job) -> str:
    """Return why a driver did not even begin; empty when it did, for then its log says all."""
    if "No module named 'sweeps" in job.message:
        return "this package is not installed there; install it on every node, for its `python`"
    if job.code == NO_COMMAND:
        return "it finds no `python` there; activate its environment before `ray start`"
    return job.message if job.code is None else ""


@contextmanager
def _screen(console: Console) -> Iterator[Write]:
    """Yield what takes the lines of a log: on a terminal events become a table that is redrawn."""
    if not console.is_terminal:
        yield _plain(console)
        return
    with Live(console=console, refresh_per_second=4, transient=True) as live:
        yield _writer(console, lambda progress, _: live.update(table(progress)))


def _plain(console: Console) -> Write:
    """Return what prints the lines of a log, and events as the plain lines of a driver."""

    def show(progress: Progress, trial: TrialState | None) -> None:
        if trial:
            console.print(trial_line(progress, trial), soft_wrap=True)

    return _writer(console, show)


def _writer(console: Console, show: Callable[[Progress, TrialState | None], None]) -> Write:
    progress: Progress | None = None

    def write(line: str) -> None:
        nonlocal progress
        read = events.read(line, progress)
        if read is None:
            console.print(line, soft_wrap=True)
        else:
            progress, trial = read
            show(progress, trial)

    return write


async def _follow(cluster: Cluster, job_id: str, write: Write) -> None:
    """Write the lines of a log, also over connections that break; raises ConnectionError."""
    shown = failures = 0
    while True:
        try:
            async for line in _lines(cluster.client.tail_job_logs(job_id), shown):
                write(line)
                shown, failures = shown + 1, 0
            return
        except Exception as error:  # whatever breaks between here and there
            failures += 1
            if failures > MOST_RETRIES:
                raise ConnectionError(
                    f"the connection to {cluster.address} is lost ({error}), which stops no sweep; "
                    f"{_coming_back(cluster, job_id)}"
                ) from error
            await asyncio.sleep(RETRY_SECONDS)


def _coming_back(cluster: Cluster, job_id: str) -> str:
    back = command("logs", job_id, "--follow", "--address", cluster.address)
    return f"come back with: {back}"


async def _lines(chunks: AsyncIterator[str], skipped: int) -> AsyncIterator[str]:
    """Yield whole lines of a log that comes in pieces, without the first ones."""
    rest, number = "", 0
    async for chunk in chunks:
        *lines, rest = (rest + chunk).split("\n")
        for line in lines:
            number += 1
            if number > skipped:
                yield line
    if rest and number >= skipped:
        yield rest
