"""Fixtures of the tests of submitted sweeps."""

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from sweeps.spec.load import parse

SWEEP = """\
name: shapes
model: {base: tiny:shapes}
data: {source: shapes, limit: 24}
train: {epochs: 3}
search: {objective: {metric: cider}, trials: 4}
"""


@pytest.fixture
def sweep():
    """Return a function: overrides -> a small sweep."""
    return lambda *overrides: parse(SWEEP, overrides=overrides)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A working folder to be in, and a cache of its own."""
    monkeypatch.setenv("SWEEPS_CACHE", str(tmp_path / "cache"))
    working = tmp_path / "working"
    working.mkdir()
    monkeypatch.chdir(working)
    return working


@pytest.fixture
def server():
    """Return a function: path -> (status, answer) -> address of a server that gives them."""
    servers = []

    def start(answers):
        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                status, answer = answers.get(self.path, (404, "nothing here"))
                self.send_response(status)
                self.end_headers()
                body = answer if isinstance(answer, str) else json.dumps(answer)
                self.wfile.write(body.encode())

            def log_message(self, *args):
                pass

        servers.append(ThreadingHTTPServer(("127.0.0.1", 0), Handler))
        threading.Thread(target=servers[-1].serve_forever, args=(0.01,), daemon=True).start()
        return f"http://127.0.0.1:{servers[-1].server_port}"

    yield start
    for each in servers:
        each.shutdown()
        each.server_close()


@pytest.fixture
def fill(folder):
    """Return a function: names of files with the same text in the working folder -> None."""

    def write(*names, text="x"):
        for name in names:
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_text(text)

    return write


@pytest.fixture
def tabled(sweep, fill):
    """Return a function: names of images -> a sweep with a table of them, and with them."""

    def write(*images, table="captions.csv", overrides=()):
        fill(table, text="image,caption\n" + "".join(f"{name},words\n" for name in images))
        own = ("data.source=csv", "data.limit=null", f"data.path={table}")
        return sweep(*own, *overrides)

    return write


@pytest.fixture
def no_token(monkeypatch, tmp_path):
    """A home folder without token, which is the only place where one could be."""
    for name in ("RAY_AUTH_MODE", "RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"):
        monkeypatch.setenv(name, "")  # else what Ray sets would stay
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
