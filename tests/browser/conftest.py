"""A real sweep, MLflow's server as `sweeps ui` starts it, and a real browser to look at it.

Screenshots stay in the folder that SWEEPS_SCREENSHOTS names, else in pytest's temporary one.
"""

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest
from playwright.sync_api import expect, sync_playwright

from sweeps.board.handle import SweepHandle
from sweeps.board.view import sweep_links

COMMAND = [sys.executable, "-c", "from sweeps.cli.app import main; main()"]
TRIALS = 5
FLAGS = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
]  # fmt: skip
WITHOUT_ASSISTANT = """
localStorage.setItem("mlflow.assistant.panelOpen_v1", "false");
localStorage.setItem("mlflow.assistant.fab.autoOpenedOnFirstLoad_v1", "true");
"""
"""MLflow opens a chat panel over a third of the page, once per browser."""
PATIENCE = 60  # seconds that a page or the server may take


@pytest.fixture(scope="session")
def results(tmp_path_factory):
    """Folder of results of the quick start with few trials, run as a person runs it.

    One that has run already may be named by SWEEPS_QUICKSTART.
    """
    if done := os.environ.get("SWEEPS_QUICKSTART"):
        return Path(done)
    folder = tmp_path_factory.mktemp("browser")
    command = [*COMMAND, "run", "quickstart", "--set", f"search.trials={TRIALS}"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder / "sweep-results"


@pytest.fixture(scope="session")
def earlier(results):
    return SweepHandle.find(results, "quickstart-1")


@pytest.fixture(scope="session")
def server(results):
    """Address of MLflow's UI on the results."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    # A session of its own: MLflow's workers outlive the process that started them.
    process = subprocess.Popen(
        [*COMMAND, "ui", "--port", str(port)], cwd=results.parent, start_new_session=True,
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    address = f"http://127.0.0.1:{port}"
    try:
        _wait(f"{address}/health", process)
        yield address
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        process.wait()


@pytest.fixture(scope="session")
def links(earlier, server):
    return sweep_links(earlier.run, earlier.sweep, earlier.sweep.promote.model, server)


@pytest.fixture(scope="session")
def chromium():
    path = shutil.which("chromium") or shutil.which("chromium-browser")
    assert path, "there is no chromium: apt-get install chromium"
    expect.set_options(timeout=PATIENCE * 1000)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture
def page(chromium):
    """A page of an empty browser, wide and tall enough for what MLflow draws only in sight."""
    context = chromium.new_context(viewport={"width": 1700, "height": 2600})
    context.add_init_script(WITHOUT_ASSISTANT)
    context.set_default_timeout(PATIENCE * 1000)
    yield context.new_page()
    context.close()


@pytest.fixture(scope="session")
def screenshots(tmp_path_factory):
    named = os.environ.get("SWEEPS_SCREENSHOTS")
    folder = Path(named) if named else tmp_path_factory.mktemp("screenshots")
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _wait(address, process):
    """Wait until the server answers."""
    deadline = time.monotonic() + PATIENCE
    while True:
        assert process.poll() is None, "the server ended"
        try:
            urllib.request.urlopen(address, timeout=1).close()
            return
        except OSError:
            assert time.monotonic() < deadline, f"no answer from {address}"
            time.sleep(0.5)
