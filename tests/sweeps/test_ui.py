"""`sweeps ui` as a process of its own."""

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request

import pytest

PATIENCE_SECONDS = 60


@pytest.fixture
def port():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


def answers(address):
    try:
        return urllib.request.urlopen(address, timeout=5).status == 200
    except OSError:
        return False


def test_its_server_imports_nothing_from_the_current_folder(tracking, traps, port):
    code = "from sweeps.cli import main; main()"
    command = [sys.executable, "-P", "-c", code, "ui", "--port", str(port)]
    server = subprocess.Popen(
        [*command, "--results", str(tracking.root)], cwd=traps, start_new_session=True
    )
    try:
        for _ in range(PATIENCE_SECONDS * 5):
            assert server.poll() is None
            if answers(f"http://127.0.0.1:{port}/health"):
                break
            time.sleep(0.2)
        else:
            pytest.fail("the server does not answer")
    finally:
        os.killpg(server.pid, signal.SIGTERM)
        server.wait()
    assert not (traps / "ran").exists()
