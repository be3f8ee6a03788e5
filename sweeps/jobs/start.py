"""What a launcher does on the head: starts a sweep's driver so that it outlives ``ray submit``.

``ray submit`` runs its script in a terminal over ssh and ends it when the client goes away. The
driver gets a session of its own and writes into a log file, so it does not notice.
"""

import os
import shlex
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from importlib.metadata import version
from pathlib import Path

from filelock import FileLock

from sweeps.results import lease
from sweeps.results.folder import SweepFolder
from sweeps.spec.load import parse
from sweeps.spec.problems import RefusedError, complain, refused, report_refusal
from sweeps.storage.places import DRIVER, shown, working
from sweeps.version import DISTRIBUTION

ARGUMENTS = ("--resume", "--fresh")
"""What may follow the script, of ``sweeps run``: with a half-finished sweep of this name."""
INTERRUPTED = 130
"""Exit code after Ctrl-C."""
_DRIVER = "from sweeps.cli.app import main; main()"
_POLL_SECONDS = 0.2
_SHOWN_LINES = 40


@dataclass(frozen=True, kw_only=True)
class Launch:
    """What a launcher carries."""

    sweep: str
    """Text of the sweep file."""
    results: str
    """Folder of all sweeps, which all nodes see; ``~`` is the home of the user on the head."""
    version: str
    """Version of this package that wrote the launcher."""
    command: str
    """The command that runs the launcher, such as ``ray submit sweep.yaml launch.py``."""

    @property
    def root(self) -> Path:
        """Absolute folder of all sweeps, or the driver's copy of it."""
        return working(self.results, DRIVER).absolute()


@dataclass(frozen=True)
class LaunchFiles:
    """What a start leaves below ``<root>/launched/``."""

    sweep: Path
    log: Path

    @classmethod
    def of(cls, root: Path, name: str) -> "LaunchFiles":
        """Return the files of a start at this moment."""
        stem = root / "launched" / f"{name}-{datetime.now():%Y%m%d-%H%M%S-%f}"
        return cls(stem.with_suffix(".yaml"), stem.with_suffix(".log"))


def start(launch: Launch, arguments: Sequence[str]) -> int:
    """Start the driver, wait until it has its sweep, and say how to follow and to stop it.

    Returns the exit code: 0 when the driver runs, 2 when it was not started, 130 after Ctrl-C,
    else that of the driver, which ended early.
    """
    try:
        with refused():
            _check(launch, arguments)
            name = parse(launch.sweep).name
            launch.root.mkdir(parents=True, exist_ok=True)
            # Of two starts at a time the second one waits, and then finds the first one's driver.
            with FileLock(launch.root / f".launch-{name}.lock"):
                _refuse_second(launch.root, name)
                files = LaunchFiles.of(launch.root, name)
                driver = _spawn(launch, files, arguments)
                print(f"starting {name}; its log is {files.log}", flush=True)
                folder = _awaited(driver, launch.root)
    except RefusedError as error:
        return report_refusal(error)
    except KeyboardInterrupt:
        print("interrupted; a driver that was started goes on starting")
        return INTERRUPTED
    if folder is None:
        return _ended(driver, files)
    print("\n".join(_advice(launch, files, folder, driver.pid)))
    return 0


def environment(outer: dict[str, str]) -> dict[str, str]:
    """Return the driver's environment: it joins the cluster of this machine."""
    return {"RAY_ADDRESS": "auto", **outer, "PYTHONUNBUFFERED": "1"}


def _check(launch: Launch, arguments: Sequence[str]) -> None:
    here = version(DISTRIBUTION)
    if here != launch.version:
        raise RefusedError(
            f"{socket.gethostname()} has {DISTRIBUTION} {here}, the launcher was written by "
            f"{launch.version}: install the same version on every node, or write the launcher "
            f"with {here}"
        )
    if len(arguments) > 1 or not set(arguments) <= set(ARGUMENTS):
        raise RefusedError(
            f"a launcher takes {' or '.join(ARGUMENTS)}, got {shlex.join(arguments)}; give all "
            "else to `sweeps launcher`, for `ray submit` splits arguments at blanks"
        )


def _refuse_second(root: Path, name: str) -> None:
    folder = SweepFolder.newest(root, name)
    driver = lease.living(folder) if folder else None
    if folder and driver:
        raise RefusedError(
            f"{folder.sweep_id} is being run by {driver}; stop it with "
            f"`{_sweeps('stop', folder)}`, or give the new sweep another name"
        )


def _spawn(launch: Launch, files: LaunchFiles, arguments: Sequence[str]) -> subprocess.Popen[bytes]:
    files.sweep.parent.mkdir(exist_ok=True)
    files.sweep.write_text(launch.sweep, encoding="utf-8")
    run = ["run", str(files.sweep), "--results", shown(launch.root), *arguments]
    with files.log.open("wb") as log:
        return subprocess.Popen(
            [sys.executable, "-P", "-c", _DRIVER, *run],
            stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT,
            start_new_session=True, env=environment(dict(os.environ)),
        )  # fmt: skip


def _awaited(driver: subprocess.Popen[bytes], root: Path) -> SweepFolder | None:
    """Return the sweep as soon as the driver has it; None when the driver ended before."""
    while driver.poll() is None:
        for file in root.glob("*/driver.json"):
            folder = SweepFolder(root=root, sweep_id=file.parent.name)
            holder = lease.read(folder)
            if holder and (holder.host, holder.pid) == (socket.gethostname(), driver.pid):
                return folder
        time.sleep(_POLL_SECONDS)
    return None


def _ended(driver: subprocess.Popen[bytes], files: LaunchFiles) -> int:
    lines = files.log.read_text(encoding="utf-8", errors="replace").splitlines()
    complain("\n".join(lines[-_SHOWN_LINES:]))
    complain(f"error: the driver ended with code {driver.returncode}; log: {files.log}")
    return driver.returncode


def _advice(launch: Launch, files: LaunchFiles, folder: SweepFolder, pid: int) -> list[str]:
    """Return how to follow and stop the sweep from where ``ray submit`` was called."""
    cluster = shlex.join(shlex.split(launch.command)[2:3])
    commands = {
        "follow its log": f"tail -n +1 -F {shlex.quote(str(files.log))}",
        "see how it stands": _sweeps("status", folder),
        "stop it": _sweeps("stop", folder),
    }
    return [
        f"{folder.sweep_id} is run by process {pid} on {socket.gethostname()} and needs this "
        "terminal no longer",
        *(f"{what}: ray exec {cluster} {shlex.quote(done)}" for what, done in commands.items()),
        f"go on after a stop: {launch.command} --resume",
    ]


def _sweeps(command: str, folder: SweepFolder) -> str:
    return f"sweeps {command} {folder.sweep_id} --results {shlex.quote(shown(folder.root))}"
