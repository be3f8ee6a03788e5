"""Following a job: its log as it grows, with the live table on a terminal.

The job does not know who follows it: whoever goes away may come back.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.live import Live

from sweeps.jobs.cluster import Cluster, Job
from sweeps.jobs.lines import board_of, take
from sweeps.live import table

SUCCEEDED, INTERRUPTED, FAILED = 0, 130, 1
"""Exit codes, where the job's own is not known."""
RETRY_SECONDS = 2.0
MOST_RETRIES = 30
"""So often in a row a lost connection is tried again."""

Write = Callable[[str], None]


def follow(cluster: Cluster, job: Job, console: Console) -> int:
    """Show a job's log from its beginning to its end; return the exit code of its sweep."""
    try:
        with _screen(job, console) as write:
            asyncio.run(_follow(cluster, job.id, write))
    except KeyboardInterrupt:
        console.print(f"the sweep goes on; {_coming_back(cluster, job.id)}", soft_wrap=True)
        return INTERRUPTED
    return ended(cluster.job(job.id), console)


def show(cluster: Cluster, job: Job, console: Console) -> int:
    """Show a job's log so far; return 0."""
    console.print(cluster.log(job.id), end="", soft_wrap=True)
    return SUCCEEDED


def ended(job: Job, console: Console) -> int:
    """Say how a job ended and return the exit code of its sweep."""
    if job.status == "SUCCEEDED":
        return SUCCEEDED
    if job.status == "STOPPED":
        console.print(f"{job.id} was stopped; go on with: {resuming(job)}", soft_wrap=True)
        return INTERRUPTED
    if job.code is None:  # the driver never ran, or Ray lost it: its log says nothing
        console.print(f"{job.id} failed: {job.message}", soft_wrap=True)
    return job.code or FAILED


def resuming(job: Job) -> str:
    """Return the command that goes on with a sweep that was stopped."""
    return f"sweeps submit FILE --results {job.metadata['results']} --resume"


@contextmanager
def _screen(job: Job, console: Console) -> Iterator[Write]:
    """Yield where lines go: to a table that is redrawn, or as they are where no terminal is."""
    board = board_of(job.metadata)
    if board is None or not console.is_terminal:
        yield lambda line: console.print(line, soft_wrap=True)
        return
    with Live(table(board), console=console, refresh_per_second=4, transient=True) as live:

        def write(line: str) -> None:
            if take(board, line):
                live.update(table(board))
            else:
                console.print(line, soft_wrap=True)

        yield write


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
    return f"come back with: sweeps logs {job_id} --follow --address {cluster.address}"


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
