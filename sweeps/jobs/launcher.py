"""``sweeps launcher``: the script that ``ray submit CLUSTER.yaml SCRIPT`` runs, and what it does.

Ray uploads the script alone, and its copy of the cluster file on the head is as old as the last
``ray up``: so the script carries the sweep itself. ``ray submit`` runs it in a terminal over ssh
and ends it when the client goes away. So `start` gives the sweep's driver a session of its own and
a log file, and the driver does not notice.
"""

import os
import shlex
import socket
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from importlib.metadata import version
from pathlib import Path
from subprocess import DEVNULL, STDOUT, Popen

from filelock import FileLock

from sweeps.results import lease
from sweeps.results.folder import SweepFolder
from sweeps.spec.load import Sweep, dump, parse
from sweeps.spec.problems import RefusedError, SpecError, complain, refused, report_refusal
from sweeps.spec.yaml_file import read_file
from sweeps.storage.places import DRIVER, shown, working
from sweeps.version import DISTRIBUTION

UNKNOWN_CLUSTER = "CLUSTER.yaml"
"""Stands in commands for the cluster file that a sweep file of its own does not know."""
ARGUMENTS = ("--resume", "--fresh")
"""What may follow the script, of ``sweeps run``: with a half-finished sweep of this name."""
INTERRUPTED = 130
"""Exit code after Ctrl-C."""
_DRIVER = "from sweeps.cli.app import main; main()"
_POLL_SECONDS = 0.2
_SHOWN_LINES = 40
_MARK = "# Written by `sweeps launcher`"
_SCRIPT = """\
{mark} and run on the head of a Ray cluster:
#     {written} [--resume | --fresh]
# After a change of the sweep, write it again.

import socket
import sys

SWEEP = (
{sweep}
)

try:
    from sweeps.jobs.launcher import Launch, start
except ImportError as error:
    print(
        f"error: {{sys.executable}} on {{socket.gethostname()}} finds no caption-sweeps {version} "
        f"({{error}}); install it on every node, for instance by the cluster file's setup_commands",
        file=sys.stderr,
    )
    sys.exit(2)

launch = Launch(
    sweep=SWEEP,
    results={results!r},
    version={version!r},
    command={command!r},
)
sys.exit(start(launch, sys.argv[1:]))
"""


def submit_command(file: str, script: Path) -> str:
    """Return the stock command that runs a script on the cluster of a sweep file."""
    try:
        found = Path(file).exists() and read_file(Path(file)).is_cluster_file()
    except SpecError:
        found = False
    return shlex.join(("ray", "submit", file if found else UNKNOWN_CLUSTER, str(script)))


def script_text(sweep: Sweep, results: str, command: str) -> str:
    """Return a script that starts `sweep` with its results in a folder of the cluster."""
    lines = dump(sweep).splitlines(keepends=True)
    return _SCRIPT.format(
        mark=_MARK,
        command=command,
        written=" ".join(command.splitlines()),  # in a comment, which a line break would end
        sweep="\n".join(f"    {line!r}" for line in lines),
        results=results,
        version=version(DISTRIBUTION),
    )


def left_behind(sweep: Sweep) -> list[str]:
    """Return which fields name files of this machine, which a launcher does not bring along."""
    data = sweep.data
    named = {"model.base": sweep.model.base, "data.path": data.path, "data.images": data.images}
    return [
        f"{field} {name}"
        for field, name in named.items()
        if name is not None and Path(name).expanduser().exists()
    ]


def write_script(text: str, script: Path) -> None:
    """Write a script; raises FileExistsError rather than replace what is no launcher."""
    if script.exists() and not script.read_text(encoding="utf-8").startswith(_MARK):
        raise FileExistsError(f"{script} is there and no launcher; name another one with --out")
    script.write_text(text, encoding="utf-8")


@dataclass(frozen=True, kw_only=True)
class Launch:
    """The content of a launcher."""

    sweep: str
    """Text of the sweep file."""
    results: str
    """Folder of all sweeps, which all nodes see; ``~`` is the home of the user on the head."""
    version: str
    """Version of this package that wrote the launcher."""
    command: str
    """The command that runs the launcher, such as ``ray submit sweep.yaml launch.py``."""


def start(launch: Launch, arguments: Sequence[str]) -> int:
    """Start the driver, wait until it has its sweep, and print how to follow and to stop it.

    Returns the exit code: 0 when the driver runs, 2 when it was not started, 130 after Ctrl-C,
    else that of the driver, which ended early. The driver's sweep file and log are left below
    ``<root>/launched/``.
    """
    try:
        with refused():
            _refuse(launch, arguments)
            name, root = parse(launch.sweep).name, working(launch.results, DRIVER).absolute()
            root.mkdir(parents=True, exist_ok=True)
            # Of two starts at a time the second one waits, and then finds the first one's driver.
            with FileLock(root / f".launch-{name}.lock"):
                earlier = SweepFolder.newest(root, name)
                running = lease.living(earlier) if earlier else None
                if earlier and running:
                    raise RefusedError(
                        f"{earlier.sweep_id} is being run by {running}; stop it with "
                        f"`{_command('stop', earlier)}`, or give the new sweep another name"
                    )
                log = root / "launched" / f"{name}-{datetime.now():%Y%m%d-%H%M%S-%f}.log"
                log.parent.mkdir(exist_ok=True)
                log.with_suffix(".yaml").write_text(launch.sweep, encoding="utf-8")
                driver = _driver(root, log, arguments)
                print(f"starting {name}; its log is {log}", flush=True)
                folder = _await_sweep(driver, root)
    except RefusedError as error:
        return report_refusal(error)
    except KeyboardInterrupt:
        print("interrupted; a driver that was started keeps starting")
        return INTERRUPTED
    if folder is None:
        lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
        complain("\n".join(lines[-_SHOWN_LINES:]))
        complain(f"error: the driver ended with code {driver.returncode}; log: {log}")
        return driver.returncode
    runner = f"process {driver.pid} on {socket.gethostname()}"
    print(f"{folder.sweep_id} is run by {runner} and needs this terminal no longer")
    cluster = shlex.join(shlex.split(launch.command)[2:3])
    for what, command in {
        "follow its log": f"tail -n +1 -F {shlex.quote(str(log))}",
        "see how it stands": _command("status", folder),
        "stop it": _command("stop", folder),
    }.items():
        print(f"{what}: ray exec {cluster} {shlex.quote(command)}")
    print(f"resume after a stop: {launch.command} --resume")
    return 0


def driver_environment(outer: dict[str, str]) -> dict[str, str]:
    """Return the driver's environment: it joins the cluster of this machine."""
    return {"RAY_ADDRESS": "auto", **outer, "PYTHONUNBUFFERED": "1"}


def _refuse(launch: Launch, arguments: Sequence[str]) -> None:
    """Raise `RefusedError` for a launcher of another version, and for unknown arguments."""
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


def _driver(root: Path, log: Path, arguments: Sequence[str]) -> Popen[bytes]:
    run = ["run", str(log.with_suffix(".yaml")), "--results", shown(root), *arguments]
    run = [sys.executable, "-P", "-c", _DRIVER, *run]
    env = driver_environment(dict(os.environ))
    with log.open("wb") as out:
        return Popen(run, stdin=DEVNULL, stdout=out, stderr=STDOUT, env=env, start_new_session=True)


def _await_sweep(driver: Popen[bytes], root: Path) -> SweepFolder | None:
    """Return the sweep as soon as the driver has it; None when the driver ended before."""
    while driver.poll() is None:
        for file in root.glob("*/driver.json"):
            folder = SweepFolder(root=root, sweep_id=file.parent.name)
            holder = lease.read(folder)
            if holder and (holder.host, holder.pid) == (socket.gethostname(), driver.pid):
                return folder
        time.sleep(_POLL_SECONDS)
    return None


def _command(name: str, folder: SweepFolder) -> str:
    return f"sweeps {name} {folder.sweep_id} --results {shlex.quote(shown(folder.root))}"
