"""The driver of a submitted sweep, on the cluster: ``python -m sweeps.jobs.driver``.

It runs in the folder into which Ray unpacked the parcel. All jobs of equal contents share that
folder and Ray removes it later, so nothing is written there: what the sweep reads moves to the
results first, under the digest of its contents. There every node finds it, and so does a later
`--resume`; it goes when no sweep of the results names it any more. Then the sweep runs as
``sweeps run`` runs it.
"""

import argparse
import os
import shutil
import signal
import socket
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from sweeps import events
from sweeps.cli.arguments import complain
from sweeps.jobs.inputs import expected
from sweeps.jobs.parcel import INPUTS, SPEC
from sweeps.spec.load import load
from sweeps.spec.sweep import Sweep
from sweeps.storage import places
from sweeps.version import own, refuse_other

KEPT_SECONDS = 24 * 3600.0
"""So long the files of a sweep stay without one."""


def main(arguments: Sequence[str]) -> None:
    """Run the sweep of the parcel in this folder; exits as ``sweeps run`` does."""
    asked = _read(arguments)
    heed_interrupts()
    spec = Path(SPEC).absolute()
    results = places.working(asked.results, places.DRIVER)
    try:
        refuse_other(asked.sender, own(), "the head node")
        refuse_absent(load(spec))
        os.chdir(settled(Path(INPUTS).absolute(), results, asked.inputs))
        prune(results)
    except (OSError, ValueError) as error:
        complain(f"error: {error}")
        sys.exit(2)
    os.environ[events.VARIABLE] = events.JSON
    from sweeps.cli import app

    choice = [f"--{asked.go_on}"] if asked.go_on else []
    sys.argv = ["sweeps", "run", str(spec), "--results", asked.results, *choice]
    app.main()


def heed_interrupts() -> None:
    """Let SIGINT through, which Ray blocks in all that it starts: a sweep stops by it, also when
    SIGTERM or a request says so."""
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})


def settled(source: Path, results: Path, digest: str) -> Path:
    """Return the folder of the sweep's files among the results, put there unless it is there."""
    target = results / INPUTS / digest
    if not target.exists():
        _make_private(target.parent)
        partial = target.with_name(f".{digest}.{os.getpid()}.partial")
        partial.mkdir()
        if source.exists():  # by contents alone: what Ray unpacked is its owner's, all of it
            shutil.copytree(source, partial, dirs_exist_ok=True, copy_function=shutil.copyfile)
        try:
            partial.rename(target)
        except OSError:  # another driver was faster
            shutil.rmtree(partial)
            if not target.exists():
                raise
    target.touch()  # used: `prune` leaves it alone until its sweep is there
    return target


def _make_private(folder: Path) -> None:
    """Make the folder of all inputs: for its owner, and for a group that may write the results.

    Nodes read it as the user who writes there; a folder that is there keeps its mode.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    group = folder.parent.stat().st_mode & 0o070
    folder.mkdir(mode=0o700 | (group if group & 0o020 else 0), exist_ok=True)


def prune(results: Path) -> None:
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
    """Raise ValueError for what the sweep file names on the cluster and what is not here."""
    here = socket.gethostname()
    absent = [one for one in expected(sweep) if not Path(one.path).exists()]
    if absent:
        raise ValueError("; ".join(
            f"{one.field}: {one.path} must be on every node of the cluster, and is not on {here} "
            "(a relative path is sent from where you submit)" for one in absent
        ))  # fmt: skip


def _read(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m sweeps.jobs.driver", description=__doc__)
    parser.add_argument("--results", required=True, help="folder that all nodes see")
    parser.add_argument("--inputs", required=True, help="digest of the files that came along")
    parser.add_argument("--sender", default="", help="version of this package where it came from")
    parser.add_argument("--resume", dest="go_on", action="store_const", const="resume")
    parser.add_argument("--fresh", dest="go_on", action="store_const", const="fresh")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    main(sys.argv[1:])
