"""A real MLflow behind a real network that can fail: a server, and a proxy before it."""

import os
import shutil
import socket
import socketserver
import subprocess
import sys
import threading
import time
import urllib.request
from contextlib import closing, suppress

import pytest

from sweeps.tracking import connection
from sweeps.tracking.client import Tracking
from sweeps.tracking.sweep_run import SweepRun


def free_port():
    with closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


BROKEN = b"HTTP/1.1 503 Away\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"


class Proxy:
    """Passes TCP connections on to a port; can be away, or lose answers."""

    def __init__(self, target):
        self.port, self.target = free_port(), target
        self.requests = 0
        self.lose = 0
        """How many answers are thrown away next; -1 for all."""
        self.answers = None
        """How many requests are answered, before all answers are lost; None for all."""
        self.breaks = None
        """A server error is the answer to whatever holds these bytes."""
        self._server = None
        self.up()

    @property
    def uri(self):
        return f"http://127.0.0.1:{self.port}"

    def up(self):
        proxy = self

        class Handler(socketserver.BaseRequestHandler):
            def handle(self):
                proxy.pass_on(self.request)

        class Server(socketserver.ThreadingTCPServer):
            allow_reuse_address = True
            daemon_threads = True

        if self._server is None:
            self._server = Server(("127.0.0.1", self.port), Handler)
            threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()

    def down(self):
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
            self._server = None

    def pass_on(self, client):
        """One request for each connection: the answer says that it is closed."""
        client.settimeout(20)
        request = received(client)
        if not request or self._server is None:
            return
        self.requests += 1
        if self.breaks is not None and self.breaks in request:
            client.sendall(BROKEN)
            return
        with socket.create_connection(("127.0.0.1", self.target)) as server:
            head, _, body = request.partition(b"\r\n\r\n")
            kept = [one for one in head.split(b"\r\n") if not one.lower().startswith(b"connection")]
            server.sendall(b"\r\n".join([*kept, b"Connection: close", b"", b""]) + body)
            reply = b""
            while piece := server.recv(65536):
                reply += piece
        if self.lose or self.answers == 0:
            self.lose -= self.lose > 0
            return
        if self.answers is not None:
            self.answers -= 1
        client.sendall(reply.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n", 1))


def received(client):
    """Return one whole HTTP request."""
    data = b""
    with suppress(OSError):
        while b"\r\n\r\n" not in data:
            piece = client.recv(65536)
            if not piece:
                return data
            data += piece
        head, _, body = data.partition(b"\r\n\r\n")
        fields = dict(one.lower().split(b": ", 1) for one in head.split(b"\r\n")[1:])
        chunked = fields.get(b"transfer-encoding") == b"chunked"
        length = int(fields.get(b"content-length", 0))
        while not body.endswith(b"0\r\n\r\n") if chunked else len(body) < length:
            piece = client.recv(65536)
            body += piece
            data += piece
    return data


@pytest.fixture(scope="session")
def mlflow_port(empty_store, tmp_path_factory):
    """MLflow's own application on SQLite, in a process of its own."""
    folder, port = tmp_path_factory.mktemp("server"), free_port()
    shutil.copy(empty_store, folder)
    environment = {
        **os.environ,
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "_MLFLOW_SERVER_FILE_STORE": f"sqlite:///{folder}/tracking.db",
        "_MLFLOW_SERVER_SERVE_ARTIFACTS": "true",
        "_MLFLOW_SERVER_ARTIFACT_ROOT": "mlflow-artifacts:/",
        "_MLFLOW_SERVER_ARTIFACT_DESTINATION": str(folder / "artifacts"),
    }
    code = f"from mlflow.server import app; app.run(port={port}, threaded=True)"
    process = subprocess.Popen(
        [sys.executable, "-c", code], cwd=folder, env=environment,
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    for _ in range(600):
        with suppress(OSError):
            urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=5).close()
            break
        time.sleep(0.1)
    yield port
    process.kill()
    process.wait()


@pytest.fixture
def proxy(mlflow_port):
    made = Proxy(mlflow_port)
    yield made
    made.down()


@pytest.fixture
def served(proxy, tmp_path, request):
    """Tracking by the server behind the proxy."""
    connection.connection_to.cache_clear()
    return Tracking(uri=proxy.uri, experiment=request.node.name, root=tmp_path / "results")


@pytest.fixture
def sweep(served):
    return SweepRun.open(served, "s-1", "name: s\n", {})


@pytest.fixture
def retry_now(served):
    """Return a function: MLflow is back, and is asked again at once."""
    return lambda: connection.connection_to(served).retry_now()
