"""Tracking in MLflow: where a sweep is tracked, and how its runs are found there.

Everything goes through `MlflowClient` with the run named each time: no process has an active run.
mlflow is imported on first use.
"""

import getpass
import logging
import os
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sweeps import names
from sweeps.tracking import embedded_store
from sweeps.tracking.errors import first_line, is_away

STORE = "tracking.db"
"""The embedded store's database."""


@dataclass(frozen=True, kw_only=True)
class Tracking:
    """Where a sweep is tracked. A plain value."""

    uri: str | None
    """Address of an MLflow server or store; null is the embedded store under `root`."""
    experiment: str
    root: Path
    """Absolute folder of the embedded store: a SQLite file and the artifacts."""

    @property
    def address(self) -> str:
        """MLflow's tracking URI."""
        return self.uri or f"sqlite:///{self.root / STORE}"

    @property
    def artifacts(self) -> str | None:
        """Address of the artifacts of new experiments; None leaves it to the server."""
        return None if self.uri else (self.root / "artifacts").as_uri()

    def client(self) -> Any:
        """Return an `MlflowClient` of the store and of its registry.

        Raises ValueError when `root` is relative: every process would have its own store.
        """
        quiet_mlflow()
        from mlflow import MlflowClient

        if self.uri is None:
            if not self.root.is_absolute():
                raise ValueError(f"Tracking.root must be an absolute folder, got {self.root}")
            self.root.mkdir(parents=True, exist_ok=True)
            embedded_store.prepare(self.root / STORE)
        return MlflowClient(tracking_uri=self.address, registry_uri=self.address)

    def experiment_id(self) -> str:
        """Return the id of the experiment, made if missing.

        Raises ValueError when the experiment was deleted: MLflow does not free its name; and
        ConnectionError when nothing answers.
        """
        client = self.client()
        try:
            found = client.get_experiment_by_name(self.experiment)
        except Exception as error:
            if not is_away(error):
                raise
            raise ConnectionError(
                f"tracking.uri: MLflow does not answer at {self.address} ({first_line(error)}); "
                "start it, correct the address or the credentials, or remove tracking.uri to "
                "track in a file"
            ) from error
        if found is None:
            return str(client.create_experiment(self.experiment, self.artifacts))
        if found.lifecycle_stage == "deleted":
            raise ValueError(
                f"tracking.experiment: {self.experiment!r} was deleted in {self.address}; bring it "
                f"back with `mlflow experiments restore -x {found.experiment_id}` "
                "or give another name"
            )
        return str(found.experiment_id)


def quiet_mlflow() -> None:
    """Turn off MLflow's telemetry, messages, pickles and detours; works before its import only."""
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    os.environ.setdefault("MLFLOW_LOGGING_LEVEL", "WARNING")
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    os.environ.setdefault("MLFLOW_ALLOW_PICKLE_DESERIALIZATION", "false")
    # A server whose files are in S3 would send clients there; many may reach the server alone.
    os.environ.setdefault("MLFLOW_ENABLE_PROXY_MULTIPART_DOWNLOAD", "false")
    os.environ.setdefault("MLFLOW_ENABLE_PROXY_MULTIPART_UPLOAD", "false")
    os.environ.setdefault("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")
    # MLflow's own 7 retries keep a person waiting for minutes.
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "30")
    logging.getLogger("alembic").setLevel(logging.WARNING)


def find_runs(client: Any, experiment_id: str, condition: str) -> list[Any]:
    """Return every run, not deleted, for which MLflow's filter `condition` holds."""
    runs: list[Any] = []
    page = None
    while page is None or page.token:
        token = page.token if page else None
        page = client.search_runs([experiment_id], condition, page_token=token)
        runs += page
    return runs


def find_trials(client: Any, experiment_id: str, parent_run_id: str, condition: str) -> list[Any]:
    """Return the runs of a sweep's trials for which `condition` holds."""
    return find_runs(client, experiment_id, f"{children_of(parent_run_id)} AND {condition}")


def children_of(run_id: str) -> str:
    """Return MLflow's filter for the runs below a run."""
    return names.equals(names.tag("mlflow.parentRunId"), run_id)


def set_tags(client: Any, run_id: str, tags: Mapping[str, str]) -> None:
    """Set several tags in one write."""
    from mlflow.entities import RunTag

    client.log_batch(run_id, tags=[RunTag(key, value) for key, value in tags.items()])


def now() -> int:
    """Return the time in milliseconds since 1970, as MLflow wants it."""
    return int(time.time() * 1000)


def user() -> str:
    """Return the name of the user of this process; a container may have none."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return "unknown"
