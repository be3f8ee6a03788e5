"""A Ray cluster as this machine reaches it: through the address of its dashboard.

Ray's own `JobSubmissionClient` does the talking. What a user can fix (nobody there, a wrong
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
"""Key of a job's metadata: the name of the sweep; other jobs are nobody's business here."""
_SECONDS = 10.0  # so long an address may be silent
_REFUSED = (401, 403)
_NODES = "/nodes?view=summary"
"""Where a dashboard lists its nodes, for those whom it lets in."""
_TALKATIVE = ("ray.dashboard.modules.dashboard_sdk", "ray.dashboard.modules.job.sdk")
"""Ray's modules that tell of every package and connection."""


class ClusterError(ValueError):
    """A cluster cannot be used as it was asked to be."""


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
        address = _http(address)
        refuse_secret("--address", address, credentials.ADDRESSES["RAY_ADDRESS"])
        version = _version(address)
        import ray
        from ray._private.authentication import authentication_token_setup
        from ray.job_submission import JobSubmissionClient

        _refuse_other(version, ray.__version__, address)
        for module in (*_TALKATIVE, authentication_token_setup.__name__):
            logging.getLogger(module).setLevel(logging.ERROR)
        # Ray's own rule for `ray start`: a token that is here is sent. An open cluster ignores it.
        authentication_token_setup.maybe_enable_token_auth_if_token_available(False)
        with _explained(address):
            client = JobSubmissionClient(address)
            client.list_jobs()  # the version is told to everybody, jobs are not
        return cls(address=address, client=client)

    def exposed(self) -> str:
        """Return a warning where jobs are taken from everybody who reaches it; else empty."""
        try:  # without a token
            with urlopen(f"{self.address}{_NODES}", timeout=_SECONDS) as answer:
                nodes = json.load(answer)["data"]["summary"]
        except (OSError, ValueError, KeyError, TypeError):
            return ""
        return ray_access.exposed(self.address, [node.get("ip", "") for node in nodes])

    def jobs(self) -> list[Job]:
        """Return the sweeps that were submitted here, the newest first."""
        with _explained(self.address):
            found = self.client.list_jobs()
        ours = [job for job in found if job.submission_id and SWEEP in (job.metadata or {})]
        return sorted(map(_job, ours), key=lambda job: job.started, reverse=True)

    def job(self, job_id: str) -> Job:
        """Return one of them; raises `ClusterError`, naming those there are."""
        jobs = self.jobs()
        found = [job for job in jobs if job.id == job_id]
        if not found:
            known = f"there are {', '.join(job.id for job in jobs)}" if jobs else "there is none"
            raise ClusterError(f"no submitted sweep {job_id!r} at {self.address}; {known}")
        return found[0]

    def submit(self, job_id: str, command: str, env: Mapping[str, Any],
               metadata: Mapping[str, str]) -> bool:  # fmt: skip
        """Start a job; return False when there is one of this id already."""
        with _explained(self.address):
            try:
                self.client.submit_job(
                    entrypoint=command, submission_id=job_id, runtime_env=dict(env),
                    metadata=dict(metadata),
                )  # fmt: skip
            except RuntimeError as error:
                if "already exists" not in str(error):
                    raise
                return False
        return True

    def log(self, job_id: str) -> str:
        """Return all that a job has said so far."""
        with _explained(self.address):
            return str(self.client.get_job_logs(job_id))

    def stop(self, job_id: str) -> None:
        """Send SIGTERM to a job's driver; return at once."""
        with _explained(self.address):
            self.client.stop_job(job_id)


def _job(details: Any) -> Job:
    ended = None if details.end_time is None else details.end_time / 1000
    return Job(
        id=details.submission_id, status=str(details.status.value), metadata=details.metadata,
        started=(details.start_time or 0) / 1000, ended=ended, code=details.driver_exit_code,
        message=details.message or "",
    )  # fmt: skip


def _http(address: str) -> str:
    """Return the address of the dashboard; raises `ClusterError` for that of another service."""
    if address.startswith(("ray://", "auto", "local")) or not address:
        raise ClusterError(
            "--address must be that of the cluster's dashboard, such as http://127.0.0.1:8265, got "
            f"{address or 'nothing'}"
        )
    return (address if "://" in address else f"http://{address}").rstrip("/")


def _version(address: str) -> str | None:
    """Return the version of Ray at an address, or None when that is told to nobody without token.

    Raises `ClusterError` when no cluster is there.
    """
    try:
        with urlopen(f"{address}/api/version", timeout=_SECONDS) as answer:
            return str(json.load(answer)["ray_version"])
    except HTTPError as error:
        if error.code in _REFUSED:
            return None
        reason = f"what answers there is no dashboard of Ray (HTTP {error.code})"
    except (OSError, ValueError, KeyError, TypeError) as error:
        told = getattr(error, "reason", error)
        offline = isinstance(error, OSError)
        reason = f"{told}" if offline else "what answers there is no dashboard of Ray"
    raise ClusterError(
        f"no Ray cluster at {address}: {reason}; start one with `RAY_AUTH_MODE=token ray start "
        "--head`, reach its dashboard by `ssh -L 8265:127.0.0.1:8265 HEAD`, or correct --address "
        "(the dashboard's port, mostly 8265)"
    )


def _refuse_other(there: str | None, here: str, address: str) -> None:
    if there is not None and there.split(".")[:2] != here.split(".")[:2]:
        raise ClusterError(
            f"the cluster at {address} runs Ray {there}, and this machine has Ray {here}: "
            f"install ray=={here} on the cluster's nodes, with the same version of this package"
        )


@contextmanager
def _explained(address: str) -> Iterator[None]:
    """Raise `ClusterError` in place of what Ray and the network say."""
    from ray.exceptions import AuthenticationError

    try:
        yield
    except AuthenticationError as error:
        raise ClusterError(ray_access.refusal(address, os.environ)) from error
    except (ConnectionError, RuntimeError) as error:
        raise ClusterError(f"the cluster at {address}: {str(error).splitlines()[0]}") from error
