"""A Ray cluster as this machine reaches it: through the address of its dashboard.

Calls go through Ray's own `JobSubmissionClient`. What a user can fix (no cluster there, a wrong
token, another version) is raised as a `ClusterError`, in a sentence.
"""

import json
import logging
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.error import HTTPError
from urllib.request import urlopen

from sweeps.fleet import ray_access
from sweeps.spec import credentials
from workers.files.addresses import refuse_secret

if TYPE_CHECKING:
    from ray.job_submission import JobSubmissionClient

SWEEP = "sweep"
"""Key of a job's metadata: the name of the sweep; other jobs are ignored."""
STOP_SECONDS = 30
"""Time that a job has between SIGTERM and SIGKILL; Ray's own default of 3 is too short to finish
writing a rung and the sweep's records."""
_TIMEOUT = 10.0  # seconds
_VERBOSE = ("ray.dashboard.modules.dashboard_sdk", "ray.dashboard.modules.job.sdk")
"""Ray's modules that log every package and connection."""


class ClusterError(ValueError):
    """A cluster cannot be used as requested."""


@dataclass(frozen=True, kw_only=True)
class Job:
    """A sweep that was submitted."""

    id: str
    status: str
    """``PENDING``, ``RUNNING``, ``STOPPED``, ``SUCCEEDED`` or ``FAILED``, as Ray calls them."""
    metadata: Mapping[str, str]
    started: float
    """Seconds since 1970."""
    ended: float | None
    code: int | None
    """Exit code of the driver; None while it runs, and where Ray does not know."""
    message: str = ""
    """Ray's own words about the job."""

    @property
    def sweep(self) -> str:
        """The name of the sweep."""
        return self.metadata[SWEEP]

    @property
    def is_over(self) -> bool:
        """Whether the job has ended."""
        return self.status in ("STOPPED", "SUCCEEDED", "FAILED")


@dataclass(frozen=True, kw_only=True)
class Cluster:
    """A cluster that answers, of a fitting version, which lets this user in."""

    address: str
    client: "JobSubmissionClient"

    @classmethod
    def at(cls, address: str) -> "Cluster":
        """Reach a cluster; raises `ClusterError`."""
        if address.startswith(("ray://", "auto", "local")) or not address:
            raise ClusterError(
                "--address must be that of the cluster's dashboard, such as http://127.0.0.1:8265, "
                f"got {address or 'nothing'}"
            )
        address = (address if "://" in address else f"http://{address}").rstrip("/")
        refuse_secret("--address", address, credentials.ADDRESSES["RAY_ADDRESS"])
        there = _version(address)
        import ray
        from ray._private.authentication import authentication_token_setup
        from ray.job_submission import JobSubmissionClient

        here = ray.__version__
        if there is not None and there.split(".")[:2] != here.split(".")[:2]:
            raise ClusterError(
                f"the cluster at {address} runs Ray {there}, and this machine has Ray {here}: "
                f"install ray=={here} on the cluster's nodes, with the same version of this package"
            )
        for module in (*_VERBOSE, authentication_token_setup.__name__):
            logging.getLogger(module).setLevel(logging.ERROR)
        # Ray's own rule for `ray start`: a token that is here is sent. An open cluster ignores it.
        authentication_token_setup.maybe_enable_token_auth_if_token_available(False)
        with _cluster_errors(address):
            client = JobSubmissionClient(address)
            client.list_jobs()  # anybody may read the version, but not list jobs
        return cls(address=address, client=client)

    def exposed(self) -> str:
        """Return a warning if it takes jobs without a token; else an empty text."""
        try:  # without a token
            with urlopen(f"{self.address}/nodes?view=summary", timeout=_TIMEOUT) as answer:
                nodes = json.load(answer)["data"]["summary"]
        except (OSError, ValueError, KeyError, TypeError):
            return ""
        return ray_access.exposed(self.address, [node.get("ip", "") for node in nodes])

    def jobs(self) -> list[Job]:
        """Return the sweeps that were submitted here, the newest first."""
        with _cluster_errors(self.address):
            found = self.client.list_jobs()
        ours = [
            Job(
                id=job.submission_id,
                status=str(job.status.value),
                metadata=job.metadata,
                started=(job.start_time or 0) / 1000,
                ended=None if job.end_time is None else job.end_time / 1000,
                code=job.driver_exit_code,
                message=job.message or "",
            )
            for job in found
            if job.submission_id and job.metadata and SWEEP in job.metadata
        ]
        return sorted(ours, key=lambda job: job.started, reverse=True)

    def job(self, job_id: str) -> Job:
        """Return one of them; raises `ClusterError`, listing those there are."""
        jobs = {job.id: job for job in self.jobs()}
        if job_id not in jobs:
            known = f"there are {', '.join(jobs)}" if jobs else "there is none"
            raise ClusterError(f"no submitted sweep {job_id!r} at {self.address}; {known}")
        return jobs[job_id]

    def submit(
        self, job_id: str, command: str, env: Mapping[str, Any], metadata: Mapping[str, str]
    ) -> bool:
        """Start a job; return False when there is one of this id already."""
        with _cluster_errors(self.address):
            try:
                self.client.submit_job(
                    entrypoint=command,
                    submission_id=job_id,
                    runtime_env=dict(env),
                    metadata=dict(metadata),
                )
            except RuntimeError as error:
                if "already exists" not in str(error):
                    raise
                return False
        return True

    def log(self, job_id: str) -> str:
        """Return a job's log so far."""
        with _cluster_errors(self.address):
            return str(self.client.get_job_logs(job_id))

    def stop(self, job_id: str) -> None:
        """Send SIGTERM to a job's driver; return at once."""
        with _cluster_errors(self.address):
            self.client.stop_job(job_id)


def _version(address: str) -> str | None:
    """Return the version of Ray at an address, or None when that takes a token to read.

    Raises `ClusterError` when no cluster is there.
    """
    try:
        with urlopen(f"{address}/api/version", timeout=_TIMEOUT) as answer:
            return str(json.load(answer)["ray_version"])
    except HTTPError as error:
        if error.code in (401, 403):
            return None
        reason = f"what answers there is no dashboard of Ray (HTTP {error.code})"
    except OSError as error:
        reason = str(getattr(error, "reason", error))
    except (ValueError, KeyError, TypeError):
        reason = "what answers there is no dashboard of Ray"
    raise ClusterError(
        f"no Ray cluster at {address}: {reason}; start one with `RAY_AUTH_MODE=token ray start "
        "--head`, reach its dashboard by `ssh -L 8265:127.0.0.1:8265 HEAD`, or correct --address "
        "(the dashboard's port, mostly 8265)"
    )


@contextmanager
def _cluster_errors(address: str) -> Iterator[None]:
    """Raise `ClusterError` in place of the errors of Ray and the network."""
    from ray.exceptions import AuthenticationError

    try:
        yield
    except AuthenticationError as error:
        raise ClusterError(ray_access.refusal(address, os.environ)) from error
    except (ConnectionError, RuntimeError) as error:
        raise ClusterError(f"the cluster at {address}: {str(error).splitlines()[0]}") from error
