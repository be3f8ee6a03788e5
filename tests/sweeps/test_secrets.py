"""Planted secrets: nothing that commands print or leave behind holds one of them.

A sweep with a trial whose error names the value of a secret variable, the commands that look at
it, and starts that fail, all with secrets in their environment and some in addresses. While the
sweep runs, its processes are watched from outside, as another user or machine would.
"""

import contextlib
import json
import os
import re
import shutil
import socket
import stat
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import psutil
import pytest

from benchmarks import exposure
from sweeps.fleet import ray_access
from sweeps.fleet.ray_access import ClusterAccess
from workers.data.network import is_loopback
from workers.files import cache

pytestmark = pytest.mark.slow

PLANTED = "Planted9"
"""Begins every secret."""
ENVIRONMENT = {
    "HF_TOKEN": f"hf_{PLANTED}tokenofthehub0123",
    "MLFLOW_TRACKING_USERNAME": "ann",
    "MLFLOW_TRACKING_PASSWORD": f"{PLANTED}/password of the server",
    "AWS_ACCESS_KEY_ID": f"AKIA{PLANTED.upper()}KEY0",
    "AWS_SECRET_ACCESS_KEY": f"{PLANTED}+secret/key",
    "STUDY_PASSWORD": f"{PLANTED}@study:pass",
}
HEAD = re.compile(r"--gcs-address=(\S+)")
ADDRESS = f"{PLANTED}in-an@address/w"
FILE = """
name: planted
model: {{base: {base}}}
data: {{source: shapes, limit: 24, split: {{train: 0.5, validation: 0.25, test: 0.25}}}}
train: {{epochs: 1, batch_size: 8}}
evaluate: {{metrics: [exact_match], max_new_tokens: 4, final_beams: 1}}
search:
  space: {{model.base: {{choice: [{base}, {broken}]}}}}
  sampler: {{name: grid}}
  objective: {{metric: loss}}
  trials: 2
resources: {{hosts: 1, slots: 1}}
"""


class _Echo(BaseHTTPRequestHandler):
    """A server that fails, and tells what it was sent."""

    def do_GET(self):
        answer = f"refused {self.headers['Authorization']} {ENVIRONMENT['HF_TOKEN']}".encode()
        self.send_response(400)
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    do_POST = do_GET  # noqa: N815

    def log_message(self, *_):
        pass


@contextlib.contextmanager
def echoing() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Echo)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()


class Machine:
    """A home folder, a cache, results and Ray's folder, and what commands there printed."""

    def __init__(self, folder: Path, base: Path) -> None:
        self.folder, self.printed = folder, ""
        self.work = folder / "work"
        self.work.mkdir()
        broken = self.work / "broken-base"  # its error names the value, which stands in a variable
        shutil.copytree(base, broken)
        config = json.loads((broken / "config.json").read_text())
        config["hidden_act"] = ENVIRONMENT["HF_TOKEN"]
        (broken / "config.json").write_text(json.dumps(config))
        (self.work / "planted.yaml").write_text(FILE.format(base=base, broken=broken))

    def start(self, *arguments: str, **environment: str) -> subprocess.Popen:
        places = {"HOME": "home", cache.VARIABLE: "cache", "TMPDIR": "tmp", "RAY_TMPDIR": "ray"}
        for name in places.values():
            (self.folder / name).mkdir(exist_ok=True)
        return subprocess.Popen(
            [sys.executable, "-c", "from sweeps.cli.app import main; main()", *arguments],
            cwd=self.work, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
            env={
                **os.environ, **ENVIRONMENT, "COLUMNS": "400",
                **{variable: str(self.folder / name) for variable, name in places.items()},
                **environment,
            },
        )  # fmt: skip

    def end(self, process: subprocess.Popen) -> subprocess.CompletedProcess:
        stdout, stderr = process.communicate(timeout=300)
        self.printed += stdout + stderr
        return subprocess.CompletedProcess(process.args, process.returncode, stdout, stderr)

    def sweeps(self, *arguments: str, **environment: str) -> subprocess.CompletedProcess:
        return self.end(self.start(*arguments, **environment))


class Heads:
    """What the heads of Ray do with a caller without their token."""

    def __init__(self) -> None:
        self.answers: dict[str, ClusterAccess] = {}
        self.elsewhere: set[ClusterAccess] = set()
        """At the other addresses of this machine."""

    def ask(self, commands: set[str]) -> None:
        for head in {found[1] for line in commands if (found := HEAD.search(line))}:
            if head not in self.answers:
                self.answers[head] = ray_access.answer(head, {})
                port = head.rpartition(":")[2]
                self.elsewhere |= {
                    ray_access.answer(f"{host}:{port}", {}) for host in own_addresses()
                }


def own_addresses() -> set[str]:
    """Return the addresses of this machine that others may reach, of both versions."""
    return {
        f"[{each.address}]" if each.family == socket.AF_INET6 else each.address
        for addresses in psutil.net_if_addrs().values()
        for each in addresses
        if each.family in (socket.AF_INET, socket.AF_INET6) and "%" not in each.address
        if not is_loopback(each.address)
    }


@pytest.fixture(scope="module")
def machine(untrained_base):
    folder = Path(tempfile.mkdtemp(dir="/tmp"))  # Ray's sockets need a short path
    yield Machine(folder, untrained_base)
    shutil.rmtree(folder)


@pytest.fixture(scope="module")
def heads():
    return Heads()


@pytest.fixture(scope="module")
def watched(machine, heads):
    """The sweep, and what its processes showed."""
    process = machine.start("run", "planted.yaml")
    with exposure.Watch(process.pid, heads.ask) as watch:
        return machine.end(process), watch


@pytest.fixture(scope="module")
def ended(watched):
    return watched[0]


def test_no_other_machine_reaches_a_process_of_the_sweep(watched):
    sockets = watched[1].sockets
    assert len(sockets) > 5  # Ray's, all of them
    assert exposure.reachable(sockets) == set()


def test_ray_refuses_who_has_no_token_and_is_not_there_at_other_addresses(watched, heads):
    assert set(heads.answers.values()) == {ClusterAccess.REFUSED}
    assert own_addresses()
    assert heads.elsewhere == {ClusterAccess.NONE}


def test_command_lines_hold_neither_a_secret_nor_the_token(watched):
    commands = watched[1].commands
    assert any("raylet" in line for line in commands)
    assert any("setup_worker.py" in line for line in commands)
    values = [PLANTED, *ENVIRONMENT.values()]
    values.remove("ann")
    assert not [line for line in commands for value in values if value in line]


def test_nobody_else_may_enter_the_folder_of_ray(machine, ended):
    (folder,) = (machine.folder / "ray").iterdir()
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700


def test_the_sweep_ends_and_the_broken_trial_says_why_without_the_value(ended):
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.count("***") == ended.stdout.count("KeyError: '***'") > 0


@pytest.mark.parametrize("command", ["compare", "report"])
def test_commands_that_look_at_it_work(machine, ended, command):
    assert machine.sweeps(command, "planted-1").returncode == 0


@pytest.mark.parametrize("place", ["storage", "data.path", "model.base"])
def test_an_address_with_a_secret_is_refused(machine, place):
    setting = f"{place}=s3://ann:{ADDRESS}@bucket/x?secret_key={ADDRESS}"
    assert machine.sweeps("plan", "planted.yaml", "--set", setting).returncode == 2


def test_an_address_with_a_secret_in_the_environment_is_refused(machine):
    uri = f"http://ann:{ADDRESS}@127.0.0.1:9"
    assert machine.sweeps("doctor", MLFLOW_TRACKING_URI=uri).returncode == 2


def test_what_a_server_echoes_is_not_said(machine):
    with echoing() as address:
        run = machine.sweeps("run", "planted.yaml", "--set", f"tracking.uri={address}")
        doctor = machine.sweeps("doctor", MLFLOW_TRACKING_URI=address)
    assert (run.returncode, doctor.returncode) == (1, 1)
    assert "'refused *** ***'" in run.stderr


def test_nothing_that_was_left_or_printed_holds_a_secret(machine, ended):
    """Last, after all the others."""
    machine.sweeps("plan", "planted.yaml")
    values = [PLANTED.encode(), ENVIRONMENT["AWS_ACCESS_KEY_ID"].encode()]
    assert not any(value in machine.printed.encode() for value in values)
    files = [path for path in machine.folder.rglob("*") if path.is_file()]
    assert {"home", "work", "ray"} <= {path.relative_to(machine.folder).parts[0] for path in files}
    holding = [path for path in files if any(value in path.read_bytes() for value in values)]
    assert [path.relative_to(machine.work).as_posix() for path in holding] == [
        "broken-base/config.json"
    ]
