"""A machine of its own for tests of `ray up`: Ray ends processes by name, and finds them by port.

Its processes, ports, home folder and Ray's folder are separate from those of this machine.
"""

import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from sweeps.spec.load import ready_text

ROOT = Path(__file__).parents[4]
BINARIES = Path(sys.executable).parent
SSHD = Path("/usr/sbin/sshd")
SETUP = """
set -e
ip link set lo up
mount --bind {folder}/passwd /etc/passwd
mkdir -p /tmp/ray && mount --bind {folder}/ray /tmp/ray
mount -t tmpfs tmpfs /run && mkdir /run/sshd
{sshd} -f {folder}/sshd_config -E {folder}/sshd.log
touch {folder}/ready
sleep infinity & wait  # bash stays, and reaps what Ray leaves behind
"""
SSHD_CONFIG = """
ListenAddress 127.0.0.1
HostKey {folder}/host_key
AuthorizedKeysFile {folder}/key.pub
PasswordAuthentication no
StrictModes no
UsePAM no
PidFile none
Subsystem sftp internal-sftp
"""
PROFILE = """
export PYTHONPATH={root} OMP_NUM_THREADS=1 SWEEPS_CACHE={folder}/cache
export RAY_USAGE_STATS_ENABLED=0 MPLCONFIGDIR={folder}/home/.matplotlib
# Ray keeps what it knows of a cluster in TMPDIR; its sockets need the shorter path of RAY_TMPDIR.
export TMPDIR={folder}/tmp RAY_TMPDIR=/tmp
"""


class Machine:
    """Processes in namespaces of their own, with sshd on loopback as the only way in."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        values = {"folder": folder, "sshd": SSHD, "root": ROOT}
        for name in ("home", "ray", "cache", "tmp"):
            (folder / name).mkdir()
        for key in ("key", "host_key"):
            new = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(folder / key)]
            subprocess.run(new, check=True)
        users = (
            "root:x:0:0::{folder}/home:/bin/bash\nsshd:x:105:65534::/run/sshd:/usr/sbin/nologin\n"
        )
        (folder / "passwd").write_text(users.format(folder=folder))
        (folder / "home" / ".profile").write_text(PROFILE.format(**values))
        (folder / "home" / ".bashrc").write_text("")
        (folder / "sshd_config").write_text(SSHD_CONFIG.format(**values))
        self._outer = subprocess.Popen(
            ["unshare", "--pid", "--fork", "--kill-child", "--mount-proc", "--mount", "--net",
             "bash", "-c", SETUP.format(**values)],
        )  # fmt: skip
        self._await_ready()

    def _await_ready(self) -> None:
        deadline = time.monotonic() + 30
        while not (self.folder / "ready").exists():
            assert self._outer.poll() is None, "the machine did not start, see above"
            assert time.monotonic() < deadline, "the machine did not start in 30 s"
            time.sleep(0.1)
        outer = self._outer.pid
        self._init = Path(f"/proc/{outer}/task/{outer}/children").read_text().split()[0]

    def start(self, command: str) -> subprocess.Popen[str]:
        """Start a shell command as a user on this machine would."""
        enter = ["nsenter", "--target", self._init, "--pid", "--mount", "--net",
                 f"--wd={self.folder}"]  # fmt: skip
        # The token of a sweep that ran in this process is not this user's.
        own = {name: value for name, value in os.environ.items() if "RAY_AUTH" not in name}
        command = f". ~/.profile; export PATH={BINARIES}:$PATH; {command}"
        return subprocess.Popen(
            [*enter, "bash", "-c", command], text=True,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            start_new_session=True, env={**own, "HOME": f"{self.folder}/home"},
        )  # fmt: skip

    def run(self, command: str, code: int = 0) -> str:
        """Run a shell command and return what it printed."""
        process = self.start(command)
        try:
            printed, _ = process.communicate(timeout=180)
        except subprocess.TimeoutExpired:
            process.kill()
            raise
        assert process.returncode == code, f"{command}: {process.returncode}\n{printed}"
        return printed

    def close(self) -> None:
        """End all that runs on it."""
        self._outer.kill()
        self._outer.wait()


def prepare(machine: Machine) -> None:
    """Write the ready file for own machines, edited for this one, and what it sends.

    Of its commands the one that installs from the package index is left out.
    """
    text = ready_text("cluster-local")
    for pattern, new in {
        r"head_ip: .*": "head_ip: 127.0.0.1",
        r"worker_ips: .*": "worker_ips: []",
        r"ssh_user: .*": "ssh_user: root",
        r"ssh_private_key: .*": f"ssh_private_key: {machine.folder}/key",
        r"    tracking: .*\n": "",  # one node: the embedded store
        r"~/sweeps-venv/bin/pip install -c": "ls",
    }.items():
        text, count = re.subn(pattern, new, text)
        assert count == 1, pattern
    (machine.folder / "sweep.yaml").write_text(text)
    (machine.folder / "dist").mkdir()
    (machine.folder / "dist" / "caption_sweeps-0.1.0-py3-none-any.whl").touch()
    (machine.folder / "constraints.txt").touch()
    (machine.folder / "home" / "sweeps-venv").symlink_to(sys.prefix)


@pytest.fixture
def machine(tmp_path):
    """A machine that is the head of a cluster of one, with the cluster file in its folder."""
    needed = ("unshare", "nsenter", "ip", "ssh", "ssh-keygen", "rsync", str(SSHD))
    missing = [name for name in needed if shutil.which(name) is None]
    if missing or os.getuid():
        needed = f"needs root, and apt-get install openssh-server rsync iproute2; lacks {missing}"
        (pytest.fail if os.environ.get("CI") else pytest.skip)(needed)
    made = Machine(tmp_path)
    prepare(made)
    yield made
    made.close()
