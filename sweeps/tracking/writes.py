"""Writes to a run of MLflow: metrics, parameters and tags in one; files."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from types import MappingProxyType
from typing import Any

from sweeps.tracking import limits

_NOTHING: Mapping[str, str] = MappingProxyType({})


def at(metrics: Mapping[str, float], step: int) -> list[tuple[str, float, int]]:
    """Return metrics as `log` takes them, by names that MLflow takes, at a step."""
    return [(key, value, step) for key, value in limits.names(metrics).items()]


def log(
    client: Any,
    run_id: str,
    *,
    time: int = 0,
    metrics: Sequence[tuple[str, float, int]] = (),
    tags: Mapping[str, str] = _NOTHING,
    params: Mapping[str, str] = _NOTHING,
) -> None:
    """Log in one write; MLflow's client makes several of what is too much for one."""
    from mlflow.entities import Metric, Param, RunTag

    client.log_batch(
        run_id,
        metrics=[Metric(key, value, time, step) for key, value, step in metrics],
        params=[Param(key, value) for key, value in params.items()],
        tags=[RunTag(key, value) for key, value in tags.items()],
    )


def write(client: Any, run_id: str, files: Mapping[str, str | bytes]) -> None:
    """Write files among the run's artifacts, by their paths there."""
    for path, data in files.items():
        with TemporaryDirectory() as folder:
            local = Path(folder) / Path(path).name
            local.write_bytes(data.encode() if isinstance(data, str) else data)
            parent = str(Path(path).parent)
            client.log_artifact(run_id, local, None if parent == "." else parent)
