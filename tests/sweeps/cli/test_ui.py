"""`sweeps ui`: what its server shows to others, whom it answers, and that it leaves nothing."""

import http.client
import os
import shutil
import signal
import socket
import subprocess
import sys
import time

import psutil
import pytest

from benchmarks import exposure
from benchmarks.server import free_port

COMMAND = [sys.executable, "-c", "from sweeps.cli.app import main; main()", "ui", "--port"]
SECRET = "planted-secret-7c1e"
PATIENCE = 60.0


@pytest.fixture(scope="module")
def folder(tmp_path_factory, empty_store):
    """A folder with a store, and with modules that must not be imported."""
    folder = tmp_path_factory.mktemp("ui")
    (folder / "sweep-results").mkdir()
    shutil.copy(empty_store, folder / "sweep-results")
    for module in ("fastapi", "flask", "sqlalchemy"):
        (folder / f"{module}.py").write_text(
            f"open({str(folder / 'ran')!r}, 'w'); raise SystemExit"
        )
    return folder


@pytest.fixture(scope="module")
def server(folder):
    """The running command, and its port."""
    port = free_port()
    process = subprocess.Popen(
        [*COMMAND, str(port)],
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**os.environ, "MLFLOW_TRACKING_PASSWORD": SECRET, "MLFLOW_BACKEND_STORE_URI": SECRET},
    )
    try:
        _wait(port, process)
        yield process, port
    finally:
        for each in exposure.tree(process.pid):
            each.kill()
        process.wait()


def _wait(port, process):
    deadline = time.monotonic() + PATIENCE
    while process.poll() is None and time.monotonic() < deadline:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            return
        except OSError:
            time.sleep(0.2)
    raise AssertionError(process.stdout.read() if process.poll() is not None else "no answer")


def status(port, host, method="GET", origin=None):
    """Return the status of a call of MLflow's API under the name `host`."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE)
    headers = {"Host": host, **({"Origin": origin} if origin else {})}
    what = "get?experiment_id=0" if method == "GET" else "create"
    body = None if method == "GET" else '{"name": ""}'
    headers |= {"Content-Type": "application/json"} if body else {}
    try:
        connection.request(method, f"/api/2.0/mlflow/experiments/{what}", body, headers)
        return connection.getresponse().status
    finally:
        connection.close()


def test_it_says_where_it_listens_and_listens_on_loopback_alone(server):
    process, port = server
    assert f"for this machine alone: http://127.0.0.1:{port}/#/" in process.stdout.readline()
    assert exposure.listening(process.pid) == {("127.0.0.1", port)}


def test_its_command_lines_hold_no_address_and_no_secret(server):
    process, _ = server
    lines = exposure.command_lines(process.pid)
    assert any("uvicorn" in line for line in lines.values())
    for line in lines.values():
        assert SECRET not in line
        assert "sqlite:" not in line


def test_it_imports_nothing_from_the_folder_in_which_it_is_started(server, folder):
    assert not (folder / "ran").exists()


@pytest.mark.parametrize("name", ["127.0.0.1:{port}", "localhost:{port}", "localhost:1234"])
def test_it_answers_to_its_own_names(server, name):
    _, port = server
    assert status(port, name.format(port=port)) == 200


@pytest.mark.parametrize("name", ["evil.example", "evil.example:{port}", "10.1.2.3", "192.168.0.1"])
def test_it_answers_to_no_other_name(server, name):
    _, port = server
    assert status(port, name.format(port=port)) == 403


def test_a_page_of_another_origin_writes_nothing(server):
    _, port = server
    assert status(port, "localhost", "POST", "http://evil.example") == 403
    assert status(port, "localhost", "POST", f"http://localhost:{port}") == 400  # no name


def test_a_port_that_is_taken_is_a_sentence(server, folder):
    _, port = server
    done = subprocess.run([*COMMAND, str(port)], cwd=folder, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == (
        f"error: cannot serve on 127.0.0.1 port {port}: Address already in use; "
        "--port names another one\n"
    )


def test_sigterm_ends_all_its_processes(server):  # the last test: the server is gone after it
    process, port = server
    processes = exposure.tree(process.pid)
    assert len(processes) > 1
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=20) == 0
    assert psutil.wait_procs(processes, timeout=5)[1] == []
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port))
