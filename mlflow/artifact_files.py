"""Copies all artifacts of the server, in whatever store ARTIFACTS names, to a folder or back.

artifact_files.py save FOLDER | artifact_files.py restore FOLDER
"""

import os
import sys
from pathlib import Path

from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository


def save(place: str, folder: str) -> None:
    """Copy what is at `place` into `folder`, which is there."""
    if Path(place).is_absolute():  # a folder of a server that has stored nothing yet
        Path(place).mkdir(parents=True, exist_ok=True)
    get_artifact_repository(place).download_artifacts("", folder)


def restore(place: str, folder: str) -> None:
    """Copy what is in `folder` to `place`; exits with a sentence when something is there."""
    store = get_artifact_repository(place)
    if store.list_artifacts():
        sys.exit(f"error: {place} must hold no artifacts; move them away first")
    store.log_artifacts(folder)


if __name__ == "__main__":
    {"save": save, "restore": restore}[sys.argv[1]](os.environ["ARTIFACTS"], sys.argv[2])
