"""NVIDIA's multi-process service for a while: processes then share a GPU at the same time.

Without it their kernels take turns. See NVIDIA's "Multi-Process Service" manual.
"""

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from tempfile import TemporaryDirectory

CONTROL = "nvidia-cuda-mps-control"


def unavailable() -> str | None:
    """Return why there is no MPS on this machine, or None."""
    if shutil.which(CONTROL) is None:
        return f"there is no {CONTROL} on the PATH"
    if "CUDA_MPS_PIPE_DIRECTORY" in os.environ:
        return "somebody runs it already: CUDA_MPS_PIPE_DIRECTORY is set"
    return None


@contextmanager
def running() -> Iterator[dict[str, str]]:
    """Start MPS and give the variables that its clients need; stop it afterwards.

    Raises RuntimeError, with what it said, when it does not start.
    """
    with TemporaryDirectory(prefix="mps-") as folder:
        clients = {"CUDA_MPS_PIPE_DIRECTORY": folder, "CUDA_MPS_LOG_DIRECTORY": folder}
        environment = {**os.environ, **clients}
        began = subprocess.run(
            [CONTROL, "-d"], env=environment, capture_output=True, text=True, check=False
        )
        if began.returncode:
            raise RuntimeError(f"{CONTROL} -d failed: {began.stderr or began.stdout}")
        try:
            yield clients
        finally:
            subprocess.run([CONTROL], input="quit\n", env=environment, text=True, check=False)
