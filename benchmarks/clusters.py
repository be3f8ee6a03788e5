"""Ray clusters of several nodes on this machine, each node started by `ray start`.

Every node has a loopback address, ports, processes and a folder for Ray's files of its own, as a
machine has, and can be killed as a machine dies: all of its processes at once. Linux only.

A folder must not be shared: a node that joins would unpack a job's files anew where the others run.
"""

import contextlib
import os
import secrets
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import urlopen

import psutil

ROOT = Path(__file__).parents[1]
NODE_PORTS = (
    "dashboard-agent-listen-port", "dashboard-agent-grpc-port", "runtime-env-agent-port",
    "metrics-export-port", "node-manager-port", "object-manager-port",
)  # fmt: skip
HEAD_PORTS = ("port", "dashboard-port", "ray-client-server-port")
STORE_BYTES = 100_000_000
START_SECONDS = 90.0
TOKEN = secrets.token_hex(32)
"""What the clusters of this process ask for."""
_RUNNING = "This command will now block forever"
"""What `ray start --block` says once its node has joined."""


def environment(**more: str) -> dict[str, str]:
    """Return what its processes see: this checkout, its Python, and no other cluster."""
    names = ("RAY_ADDRESS", "RAY_API_SERVER_ADDRESS", "SWEEPS_RESULTS")
    kept = {name: value for name, value in os.environ.items() if name not in names}
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    return {
        **kept,
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN": TOKEN,
        "RAY_USAGE_STATS_ENABLED": "0",
        "PATH": path,
        "PYTHONPATH": str(ROOT),
        "PYTHONUNBUFFERED": "1",
        **more,
    }


class LocalCluster:
    """A head and the nodes that are added to it, each of one core unless said otherwise."""

    def __init__(self, folder: Path, **variables: str) -> None:
        """Take a folder for logs and what nodes have in their environment beside `environment`.

        Ray's own files go to a short path.
        """
        self._folder = folder
        self._variables = variables
        self._temporary: list[str] = []
        self.nodes: list[subprocess.Popen[bytes]] = []
        """The head, and what was added to it."""
        self._ports = dict(zip(HEAD_PORTS, _free_ports(len(HEAD_PORTS)), strict=True))
        self.address = f"127.0.0.1:{self._ports['port']}"
        """For ``RAY_ADDRESS``."""
        self.dashboard = f"http://127.0.0.1:{self._ports['dashboard-port']}"

    def start(self, cores: int) -> None:
        """Start the head; raises RuntimeError with its log when it does not answer."""
        self._start(
            "--head", "--dashboard-host=127.0.0.1", "--disable-usage-stats",
            *_options(self._ports), cores=cores,
        )  # fmt: skip
        _await(self._answers, self.nodes[0], self._folder / "node-1.log")

    def add(self, cores: int = 1) -> subprocess.Popen[bytes]:
        """Start a further node and return its process, once it has joined."""
        node = self._start(f"--address={self.address}", cores=cores)
        log = self._folder / f"node-{len(self.nodes)}.log"
        _await(lambda: _RUNNING in log.read_text(), node, log)
        return node

    def close(self) -> None:
        """End all nodes, the head last."""
        for node in reversed(self.nodes):
            kill(node)
        for folder in self._temporary:
            shutil.rmtree(folder, ignore_errors=True)

    def _start(self, *arguments: str, cores: int) -> subprocess.Popen[bytes]:
        number = len(self.nodes) + 1
        self._temporary.append(tempfile.mkdtemp(prefix="ray-"))  # short: sockets lie in it
        ports = dict(zip(NODE_PORTS, _free_ports(len(NODE_PORTS)), strict=True))
        with (self._folder / f"node-{number}.log").open("w") as log:
            node = subprocess.Popen(
                [sys.executable, "-m", "ray.scripts.scripts", "start", "--block",
                 f"--node-ip-address=127.0.0.{number}", f"--num-cpus={cores}", "--num-gpus=0",
                 f"--object-store-memory={STORE_BYTES}", f"--temp-dir={self._temporary[-1]}",
                 *_options(ports), *arguments],
                stdout=log, stderr=subprocess.STDOUT, env=environment(**self._variables),
                start_new_session=True,
            )  # fmt: skip
        self.nodes.append(node)
        return node

    def _answers(self) -> bool:
        with contextlib.suppress(OSError):
            with contextlib.suppress(HTTPError):  # it asks for the token
                urlopen(f"{self.dashboard}/api/version", timeout=5).close()
            return True
        return False


@contextmanager
def local_cluster(folder: Path, cores: int = 1, **variables: str) -> Iterator[LocalCluster]:
    """Have a cluster that ends with the block."""
    cluster = LocalCluster(folder, **variables)
    try:
        cluster.start(cores)
        yield cluster
    finally:
        cluster.close()


def kill(node: "subprocess.Popen[bytes]") -> None:
    """Let a node die with all of its processes at once, by -9."""
    with contextlib.suppress(psutil.NoSuchProcess):
        first = psutil.Process(node.pid)
        every = [first, *first.children(recursive=True)]
        for process in every:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        psutil.wait_procs(every, timeout=30)
    node.wait(timeout=30)


def _await(ready: Callable[[], bool], node: "subprocess.Popen[bytes]", log: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    while not ready():
        if time.monotonic() > deadline or node.poll() is not None:
            raise RuntimeError(log.read_text())
        time.sleep(0.2)


def _options(ports: Mapping[str, int]) -> list[str]:
    return [f"--{name}={port}" for name, port in ports.items()]


def _free_ports(count: int) -> list[int]:
    """Return ports that neither Ray's workers, which are below, nor clients, above, may get first.

    Nodes open theirs some seconds later.
    """
    found: set[int] = set()
    while len(found) < count:
        port = 20_000 + secrets.randbelow(12_000)
        with contextlib.suppress(OSError), socket.socket() as probe:
            probe.bind(("127.0.0.1", port))
            found.add(port)
    return list(found)
