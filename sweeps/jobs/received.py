"""Files that came along with a submitted sweep, on the cluster."""

import shutil
import socket
import time
from pathlib import Path

from sweeps.jobs.inputs import expected
from sweeps.jobs.parcel import INPUTS
from sweeps.spec.sweep import Sweep
from sweeps.storage import places
from workers.files.atomic import atomic_path

KEPT_SECONDS = 24 * 3600.0
"""So long the files stay after their last use by a sweep."""


def store_inputs(source: Path, results: Path, digest: str) -> Path:
    """Return the folder of the sweep's files among the results, put there unless it is there."""
    target = results / INPUTS / digest
    if not target.exists():
        # The folder of all inputs is for its owner, and for a group that may write the results:
        # nodes read it as the user who writes there. One that is there keeps its mode.
        results.mkdir(parents=True, exist_ok=True)
        group = results.stat().st_mode & 0o070
        target.parent.mkdir(mode=0o700 | (group if group & 0o020 else 0), exist_ok=True)
        with atomic_path(target) as partial:
            partial.mkdir()
            if source.exists():  # by contents alone: what Ray unpacked is its owner's, all of it
                shutil.copytree(source, partial, dirs_exist_ok=True, copy_function=shutil.copyfile)
    target.touch()  # used: `prune_inputs` leaves it alone until its sweep is there
    return target


def prune_inputs(results: Path) -> None:
    """Remove the files of sweeps that are gone from the results, a day after their last use.

    In an object store they stay: drivers on other machines may use them, too.
    """
    if places.around(results):
        return
    specs = [file.read_text(encoding="utf-8") for file in results.glob("*/sweep.yaml")]
    for folder in (results / INPUTS).iterdir():
        old = time.time() - folder.stat().st_mtime > KEPT_SECONDS
        named = any(f"{INPUTS}/{folder.name}" in text for text in specs)
        if old and not named and any(folder.iterdir()):  # an empty one may be where a driver works
            shutil.rmtree(folder, ignore_errors=True)


def refuse_absent(sweep: Sweep) -> None:
    """Raise ValueError for paths of the cluster in the sweep file that do not exist here."""
    here = socket.gethostname()
    absent = [
        f"{field}: {path} must be on every node of the cluster, and is not on {here} "
        "(a relative path is sent from where you submit)"
        for field, path in expected(sweep)
        if not Path(path).exists()
    ]
    if absent:
        raise ValueError("; ".join(absent))
