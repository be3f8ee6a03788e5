"""``sweeps jobs``: the sweeps that were submitted to a cluster."""

from datetime import datetime

from rich.console import Console
from rich.table import Table

from sweeps.jobs.cluster import Cluster, Job

_MINUTE, _HOUR = 60, 3600  # seconds


def show(address: str, console: Console) -> None:
    """Print a line for each sweep, the newest first; raises `ClusterError`."""
    jobs = Cluster.at(address).jobs()
    console.print(table(jobs) if jobs else f"no sweep was submitted to {address} yet")


def table(jobs: list[Job]) -> Table:
    """Return the jobs with their states and times."""
    grid = Table(box=None, pad_edge=False, header_style="bold")
    for column in ("job", "state", "submitted", "time"):
        grid.add_column(column, no_wrap=True)
    grid.add_column("results", overflow="fold")
    now = datetime.now().timestamp()
    for job in jobs:
        began = datetime.fromtimestamp(job.started).strftime("%Y-%m-%d %H:%M")
        lasted = duration((job.ended or now) - job.started)
        grid.add_row(job.id, job.status.lower(), began, lasted, job.metadata.get("results", ""))
    return grid


def duration(seconds: float) -> str:
    """Return a time such as ``2 h 05 min``, ``12 min`` or ``40 s``."""
    whole = max(0, round(seconds))
    if whole >= _HOUR:
        return f"{whole // _HOUR} h {whole % _HOUR // _MINUTE:02d} min"
    return f"{whole // _MINUTE} min" if whole >= _MINUTE else f"{whole} s"
