"""`sweeps serve` as a process: what it prints, and that it ends without dropping a call."""

import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time

import pytest

from benchmarks import exposure
from sweeps.serving import server

from .conftest import COLORS, NAME, Client, encoded, picture

PLANTED = "planted-91d0"
SERVE = "import sys; from sweeps.cli.app import main; sys.argv[0] = 'sweeps'; main()"


HANGS = """
import time
from sweeps.serving import server
from workers.inference.captioner import Captioner
server.DRAIN = 0.5
Captioner.write = lambda *_: time.sleep(100)
"""


def started(shop, *arguments, before=""):
    command = [sys.executable, "-c", before + SERVE, "serve", *arguments]
    command += ["--results", str(shop.results)]
    return subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env={**os.environ, "PYTHONUNBUFFERED": "1", "HF_TOKEN": PLANTED},
    )  # fmt: skip


@pytest.mark.slow
def test_sigterm_answers_what_was_taken_and_ends_well(shop):
    shop.alias(NAME, "1")
    process = started(shop, NAME, "--port", "0")
    try:
        first = process.stdout.readline()
        address = re.search(r"version 1 \(champion\) on http://127\.0\.0\.1:(\d+)", first)
        assert address, first + process.stderr.read()
        client = Client(int(address[1]))
        images = [{"image": encoded(picture(color))} for color in COLORS]
        assert client.ask(images[0])[0] == 200
        answers = []
        threads = [
            threading.Thread(target=lambda: answers.append(client.ask(*(images * 8)[:60])))
            for _ in range(4)
        ]
        for thread in threads:
            thread.start()
        time.sleep(0.1)  # they are on their way
        assert exposure.listening(process.pid) == {("127.0.0.1", int(address[1]))}
        commands = exposure.command_lines(process.pid).values()
        assert any("sweeps.serving.decoder" in line for line in commands)
        assert not [line for line in commands if PLANTED in line]
        process.send_signal(signal.SIGTERM)
        for thread in threads:
            thread.join()
        assert process.wait(30) == 0
        assert [status for status, _ in answers] == [200] * 4
    finally:
        process.kill()
    log = process.stderr.read()
    assert len(re.findall(r"127\.0\.0\.1 POST /invocations 200 \d+\.\d ms", log)) == 5
    assert "Traceback" not in log


@pytest.mark.slow
def test_the_end_waits_for_no_model_that_hangs(shop):
    shop.alias(NAME, "1")
    process = started(shop, NAME, "--port", "0", "--host", "0.0.0.0", before=HANGS)
    try:
        port = int(process.stdout.readline().rpartition(":")[2])
        warning = [process.stdout.readline() for _ in range(3)][-1]
        assert "warning: there is no authentication, anyone who reaches any address" in warning
        answers = []
        ask = threading.Thread(
            target=lambda: answers.append(Client(port).ask({"image": encoded(picture())}))
        )
        ask.start()
        time.sleep(1)  # the model is at it
        process.send_signal(signal.SIGTERM)
        ask.join()
        assert process.wait(30) == 0
    finally:
        process.kill()
    assert answers[0][0] == 503
    assert answers[0][1]["message"] == "the server was asked to end; send the call to another"
    assert "Traceback" not in process.stderr.read()


def test_a_taken_port_is_one_line():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(
            OSError, match=f"cannot serve on 127.0.0.1 port {port}: Address already"
        ):
            server.listen("127.0.0.1", port)


def test_answers_are_not_held_back_by_nagle():
    """asyncio turns it off only where the socket names its protocol."""
    with server.listen("127.0.0.1", 0) as listening:
        assert listening.proto == socket.IPPROTO_TCP
