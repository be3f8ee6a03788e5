"""The environment of a job: what is sent, and what must be on the nodes already.

Ray keeps a job's environment and shows it to everybody who sees its dashboard. So no secret is
sent: MLflow's password, the hub's token and the study's password are set on every node before
``ray start``, from where the job inherits them.
"""

import os
from collections.abc import Iterable, Mapping

from sweeps.spec import credentials
from sweeps.spec.storage import variables
from sweeps.spec.sweep import Sweep
from workers.redaction import is_secret, redact, secret_values

STOP_SECONDS = 30
"""Time that a job has between SIGTERM and SIGKILL; Ray's own default of 3 is too short to end a
rung's writing and the sweep's records."""
OFFLINE = ("HF_HUB_OFFLINE", "HF_DATASETS_OFFLINE", "TRANSFORMERS_OFFLINE")
"""Variables that a job has if its sender has them."""


def sent(assignments: Iterable[str], own: Mapping[str, str]) -> dict[str, str]:
    """Return the variables of a job: assignments such as ``HF_HOME=/shared/hf``, and some of `own`.

    Raises ValueError for an assignment that is none, or that would give a secret away.
    """
    kept = {name: own[name] for name in OFFLINE if name in own}
    wait = {"RAY_JOB_STOP_WAIT_TIME_S": str(STOP_SECONDS)}
    return {**kept, **wait, **dict(map(_assigned, assignments))}


def missing(sweep: Sweep, own: Mapping[str, str]) -> list[str]:
    """Return the secrets that the sender has, or that the file names, and that are not sent."""
    server = sweep.tracking.uri is not None and sweep.tracking.uri.startswith("http")
    used = [credentials.USER, credentials.PASSWORD, "MLFLOW_TRACKING_TOKEN"] if server else []
    present = [name for name in (*used, "HF_TOKEN") if name in own]
    return [*present, *variables(sweep.search.storage or "")]


def _assigned(assignment: str) -> tuple[str, str]:
    name, equals, value = assignment.partition("=")
    if not equals or not name.isidentifier():
        raise ValueError(f"--env must look like HF_HOME=/shared/hf, got {assignment!r}")
    known = value in secret_values(os.environ)
    if known or is_secret(name) or redact(value, {}) != value:
        raise ValueError(
            f"--env {name} must not be a secret: Ray shows a job's environment to all who see its "
            "dashboard; set it on every node before `ray start`"
        )
    return name, value
