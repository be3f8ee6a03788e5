"""``sweeps stop JOB --address ...``: a submitted sweep ends as after Ctrl-C, and can go on."""

import time

from rich.console import Console

from sweeps.jobs.cluster import Cluster, ClusterError
from sweeps.jobs.environment import STOP_SECONDS
from sweeps.jobs.follow import resuming
from sweeps.names import command

POLL_SECONDS = 0.5
_SLACK = 15.0  # seconds that Ray may need for the signal and for its own records


def stop(job_id: str, address: str, console: Console) -> int:
    """Stop a submitted sweep and wait for its end; return the exit code.

    Ray sends SIGTERM, at which the driver keeps what was reported and leaves.
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
            raise ClusterError(f"{job_id} was asked to stop and runs on; see `{see}`")
        time.sleep(POLL_SECONDS)
    if job.status != "STOPPED":
        console.print(f"{job_id} ended by itself meanwhile ({job.status.lower()})")
        return 0
    console.print(f"stopped; go on with: {resuming(job, cluster.address)}", soft_wrap=True)
    return 0
