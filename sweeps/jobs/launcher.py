"""``sweeps launcher``: writes the script that ``ray submit CLUSTER.yaml SCRIPT`` runs.

Ray uploads the script alone, and its copy of the cluster file on the head is as old as the last
``ray up``: so the script carries the sweep itself. What it does stands in `sweeps.jobs.start`.
"""

import shlex
from importlib.metadata import version
from pathlib import Path

from sweeps.spec.load import Sweep, dump
from sweeps.spec.problems import SpecError
from sweeps.spec.yaml_file import read_file
from sweeps.version import DISTRIBUTION

UNKNOWN_CLUSTER = "CLUSTER.yaml"
"""Stands in commands for the cluster file that a sweep file of its own does not know."""
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
    from sweeps.jobs.start import Launch, start
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


def cluster_file(file: str) -> str:
    """Return the cluster file that `file` is, or what stands for it where `file` is none."""
    try:
        found = Path(file).exists() and read_file(Path(file)).is_cluster_file()
    except SpecError:
        found = False
    return file if found else UNKNOWN_CLUSTER


def command(file: str, script: Path) -> str:
    """Return the stock command that runs a script on the cluster of `file`."""
    return f"ray submit {shlex.quote(cluster_file(file))} {shlex.quote(str(script))}"


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
    named = {
        "model.base": sweep.model.base,
        "data.path": sweep.data.path,
        "data.images": sweep.data.images,
    }
    return [
        f"{field} {name}"
        for field, name in named.items()
        if name is not None and Path(name).expanduser().exists()
    ]


def write(text: str, script: Path) -> None:
    """Write a script; raises FileExistsError rather than replace what is no launcher."""
    if script.exists() and not script.read_text(encoding="utf-8").startswith(_MARK):
        raise FileExistsError(f"{script} is there and no launcher; name another one with --out")
    script.write_text(text, encoding="utf-8")
