"""MLflow's own UI on the embedded store."""

import os
import subprocess
import sys
from pathlib import Path

from sweeps.tracking import Tracking


def serve(results: Path, port: int) -> int:
    """Serve until Ctrl-C and return MLflow's exit code.

    Raises FileNotFoundError when no sweep has been tracked below `results`.
    """
    tracking = Tracking(uri=None, experiment="", root=results.absolute())
    if not (tracking.root / "tracking.db").exists():
        raise FileNotFoundError(f"no sweep is tracked in {tracking.root}; `sweeps run` makes one")
    print(f"MLflow's UI: http://127.0.0.1:{port}/#/experiments?workflowType=machine_learning")
    server = subprocess.Popen(
        [
            sys.executable, "-m", "mlflow", "server",
            "--host", "127.0.0.1", "--port", str(port), "--workers", "1",
            "--backend-store-uri", tracking.address,
            "--default-artifact-root", str(tracking.artifacts),
        ],
        # Without it MLflow starts half a dozen idle processes of a job queue.
        env={
            **os.environ,
            "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
            "MLFLOW_DISABLE_TELEMETRY": "true",
        },
    )  # fmt: skip
    try:
        return server.wait()
    except KeyboardInterrupt:
        server.terminate()
        server.wait()
        return 0
