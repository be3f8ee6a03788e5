"""The command ``sweeps ui``: MLflow's own UI on the embedded store, for this machine alone."""

import os
import socket
import sys
from typing import Annotated, NoReturn

import typer

from sweeps.cli.arguments import Results
from sweeps.names import RESULTS

HOST = "127.0.0.1"
ALLOWED_HOSTS = "127.0.0.1,127.0.0.1:*,localhost,localhost:*"
"""Hosts of requests, also through a tunnel from another port: a foreign name is DNS rebinding.
MLflow by itself would take private addresses, too."""


def ui(
    port: Annotated[int, typer.Option(min=1, max=65535, help="Port on this machine.")] = 5000,
    results: Results = RESULTS,
) -> NoReturn:
    """Serve MLflow's UI on the embedded store, to this machine alone; Ctrl-C ends it."""
    from sweeps.tracking.client import Tracking

    tracking = Tracking(uri=None, experiment="", root=results.absolute())
    if not (tracking.root / "tracking.db").exists():
        raise FileNotFoundError(f"no sweep is tracked in {tracking.root}; `sweeps run` makes one")
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError as error:
            raise OSError(
                f"cannot serve on {HOST} port {port}: {error.strerror}; --port names another one"
            ) from None
    page = f"http://{HOST}:{port}/#/experiments?workflowType=machine_learning"
    print(f"MLflow's UI, for this machine alone: {page}", flush=True)
    environment = {
        "MLFLOW_SERVER_ALLOWED_HOSTS": ALLOWED_HOSTS,
        **os.environ,
        # Not on the command line, which all users of a machine may read.
        "MLFLOW_BACKEND_STORE_URI": tracking.address,
        "MLFLOW_REGISTRY_STORE_URI": tracking.address,
        "MLFLOW_DEFAULT_ARTIFACT_ROOT": str(tracking.artifacts),
        # Without it MLflow starts half a dozen idle processes of a job queue.
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "PYTHONSAFEPATH": "1",
    }
    server = [sys.executable, "-m", "mlflow", "server", "--host", HOST, "--port", str(port)]
    os.chdir("/")  # uvicorn imports from its folder, whatever Python's own options say
    # In the place of this process: signals reach MLflow, and nothing stays when it has ended.
    os.execve(sys.executable, [*server, "--workers", "1"], environment)
